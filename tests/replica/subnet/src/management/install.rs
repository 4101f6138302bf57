//! Installing, reinstalling and upgrading code, in one piece or from chunks.

use super::{Caller, ManagementUsage, Reply, chunks, decode, encode, errors};
use crate::canister::{Canister, Code};
use crate::error::{ErrorCode, UserError};
use crate::outcome::{settle, trapped};
use crate::run::{Env, Round, Rules, Run, Scene, message_facts, pages, run_on, vm_limits};
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use crate::usage::MessageKind;
use ic_management_canister_types::{
    CanisterInstallMode, ChangeDetails, CodeDeploymentMode, CodeDeploymentRecord,
    InstallChunkedCodeArgs, InstallCodeArgs, UninstallCodeArgs, UpgradeFlags,
    WasmMemoryPersistence,
};
use millrace_vm as vm;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Custom section by which Motoko modules say that they keep their heap across upgrades.
const ENHANCED_PERSISTENCE: &str = "enhanced-orthogonal-persistence";

/// A module to be installed.
struct Installation {
    mode: CanisterInstallMode,
    module: Vec<u8>,
    arg: Vec<u8>,
    sender_canister_version: Option<u64>,
}

/// An installation under way: what it ran so far.
struct Progress<'a> {
    scene: Scene<'a>,
    caller: &'a Caller<'a>,
    arg: Vec<u8>,
    instructions: u64,
    pages_dirtied: u64,
    certified_data: Option<Vec<u8>>,
    global_timer_ns: Option<u64>,
    balance: Option<u128>,
}

impl Subnet {
    pub(super) fn install_code(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
        usage: &mut ManagementUsage,
    ) -> Reply {
        let args: InstallCodeArgs = decode(payload)?;
        let installation = Installation {
            mode: args.mode,
            module: args.wasm_module,
            arg: args.arg,
            sender_canister_version: args.sender_canister_version,
        };
        self.install(env, caller, &args.canister_id, installation, usage)
    }

    pub(super) fn install_chunked_code(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
        usage: &mut ManagementUsage,
    ) -> Reply {
        let args: InstallChunkedCodeArgs = decode(payload)?;
        self.controlled(&caller.principal, &args.target_canister)?;
        let store = args.store_canister.unwrap_or(args.target_canister);
        let module_bytes_max = self.rules.limits.wasm_module_bytes;
        let store = if store == args.target_canister {
            self.canister_mut(&store)?
        } else {
            self.chunk_owner(&caller.principal, &store)
                .map_err(|error| {
                    UserError::new(
                        error.code,
                        format!("Error from Wasm chunk store: {}", error.message),
                    )
                })?
        };
        let hashes = &args.chunk_hashes_list;
        let module = chunks::assemble(store, hashes, &args.wasm_module_hash, module_bytes_max)?;
        let installation = Installation {
            mode: args.mode,
            module,
            arg: args.arg,
            sender_canister_version: args.sender_canister_version,
        };
        self.install(env, caller, &args.target_canister, installation, usage)
    }

    fn install(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        id: &CanisterId,
        mut installation: Installation,
        usage: &mut ManagementUsage,
    ) -> Reply {
        let memory_available = self
            .rules
            .limits
            .subnet_memory_bytes
            .saturating_sub(self.memory_used());
        let round = Round {
            number: self.state.round,
            memory_available,
        };
        self.controlled(&caller.principal, id)?;
        let rules = &self.rules;
        let canister = self.canisters.get_mut(id).expect("looked up just before");
        if canister.install_debit > 0 && rules.limits.limits_install_rate() {
            return Err(errors::install_rate_limited(id));
        }
        let prepaid = rules.fees.execution(rules.limits.prepaid_install());
        canister
            .withdraw(prepaid, &rules.limits, &rules.fees, true)
            .map_err(|error| errors::install_unpaid(&error))?;
        let mut progress = Progress {
            scene: Scene { env, rules, round },
            caller,
            arg: std::mem::take(&mut installation.arg),
            instructions: 0,
            pages_dirtied: 0,
            certified_data: None,
            global_timer_ns: None,
            balance: None,
        };
        let result = progress.install(canister, installation.mode, &installation.module);
        let Progress {
            instructions,
            pages_dirtied,
            ..
        } = progress;
        usage.instructions += instructions;
        canister.install_debit += instructions;
        if let Ok(code) = result {
            commit(env, rules, canister, progress, code, &installation);
            let heap_delta = pages_dirtied * vm::OS_PAGE_BYTES;
            usage.heap_delta += heap_delta;
            canister.heap_delta_debit += heap_delta;
            settle(rules, canister, prepaid, instructions);
            return Ok(encode(()));
        }
        settle(rules, canister, prepaid, instructions);
        result.map(|_| Vec::new())
    }

    pub(super) fn uninstall_code(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        let args: UninstallCodeArgs = decode(payload)?;
        self.controlled(&caller.principal, &args.canister_id)?;
        self.uninstall(env, &args.canister_id);
        let entries = self.rules.limits.history_entries;
        let canister = self.canister_mut(&args.canister_id)?;
        canister.history.record(
            env.time_ns,
            canister.version,
            caller.change_origin(args.sender_canister_version),
            ChangeDetails::CodeUninstall,
            entries,
        );
        Ok(encode(()))
    }
}

/// Replaces the canister's code by the installed one.
fn commit(
    env: &Env,
    rules: &Rules,
    canister: &mut Canister,
    progress: Progress<'_>,
    code: Code,
    installation: &Installation,
) {
    let module_hash = code.module_hash;
    if let Some(balance) = progress.balance {
        canister.balance = balance;
    }
    if !matches!(installation.mode, CanisterInstallMode::Upgrade(_)) {
        canister.certified_data.clear();
    }
    canister.global_timer_ns = progress.global_timer_ns.unwrap_or(0);
    if let Some(data) = progress.certified_data {
        canister.certified_data = data;
    }
    canister.code = Some(code);
    canister.version += 1;
    canister.low_memory_hook = crate::canister::LowMemoryHook::default();
    canister.update_low_memory_hook(&rules.limits);
    let mode = match installation.mode {
        CanisterInstallMode::Install => CodeDeploymentMode::Install,
        CanisterInstallMode::Reinstall => CodeDeploymentMode::Reinstall,
        CanisterInstallMode::Upgrade(_) => CodeDeploymentMode::Upgrade,
    };
    canister.history.record(
        env.time_ns,
        canister.version,
        progress
            .caller
            .change_origin(installation.sender_canister_version),
        ChangeDetails::CodeDeployment(CodeDeploymentRecord {
            mode,
            module_hash: module_hash.to_vec(),
        }),
        rules.limits.history_entries,
    );
}

impl Progress<'_> {
    /// Builds the new code beside the old; the canister changes only in its log and usage records.
    fn install(
        &mut self,
        canister: &mut Canister,
        mode: CanisterInstallMode,
        uploaded: &[u8],
    ) -> Result<Code, UserError> {
        let id = canister.id;
        let module = self.prepare(&id, uploaded)?;
        let flags = match (mode, &canister.code) {
            (CanisterInstallMode::Install, Some(_)) => return Err(errors::not_empty(&id)),
            (CanisterInstallMode::Install | CanisterInstallMode::Reinstall, _) => None,
            (CanisterInstallMode::Upgrade(_), None) => return Err(crate::outcome::no_module(&id)),
            (CanisterInstallMode::Upgrade(flags), Some(_)) => Some(flags.unwrap_or_default()),
        };
        let state = match flags {
            None => self.fresh(canister, mode, &module)?,
            Some(flags) => self.upgrade(canister, flags, &module)?,
        };
        Ok(Code {
            state,
            uploaded: Arc::from(uploaded),
            module_hash: Sha256::digest(uploaded).into(),
        })
    }

    fn prepare(
        &mut self,
        id: &CanisterId,
        uploaded: &[u8],
    ) -> Result<Arc<vm::CanisterModule>, UserError> {
        let invalid = |error: vm::ModuleError| {
            UserError::new(
                ErrorCode::CanisterInvalidWasm,
                format!("Error from Canister {id}: {error}"),
            )
        };
        let wasm = vm::decode_module(uploaded).map_err(invalid)?;
        let bytes_max = self.scene.rules.limits.wasm_module_bytes;
        if wasm.len() as u64 > bytes_max {
            return Err(UserError::new(
                ErrorCode::CanisterInvalidWasm,
                format!(
                    "Error from Canister {id}: the module has {} bytes, more than the limit of {bytes_max}",
                    wasm.len()
                ),
            ));
        }
        let module = self.scene.env.engine.prepare(&wasm).map_err(invalid)?;
        self.instructions = module.compile_instructions().get();
        if self.instructions > self.scene.rules.limits.install_instructions {
            self.instructions = self.scene.rules.limits.install_instructions;
            return Err(UserError::new(
                ErrorCode::CanisterInstructionLimitExceeded,
                format!(
                    "Error from Canister {id}: Canister exceeded the limit of {} instructions for single message execution.",
                    self.scene.rules.limits.install_instructions
                ),
            ));
        }
        Ok(module)
    }

    /// Returns a fresh state after `start` and `canister_init`.
    fn fresh(
        &mut self,
        canister: &mut Canister,
        mode: CanisterInstallMode,
        module: &Arc<vm::CanisterModule>,
    ) -> Result<vm::CanisterState, UserError> {
        let mut state = vm::CanisterState::new(module)
            .map_err(|error| errors::host("provide memory", &error))?;
        let kind = match mode {
            CanisterInstallMode::Install => MessageKind::Install,
            _ => MessageKind::Upgrade,
        };
        self.run(canister, &mut state, vm::EntryPoint::Start, kind)?;
        self.run(canister, &mut state, vm::EntryPoint::Init, kind)?;
        Ok(state)
    }

    /// Returns the state after `canister_pre_upgrade`, the exchange of code and `canister_post_upgrade`.
    fn upgrade(
        &mut self,
        canister: &mut Canister,
        flags: UpgradeFlags,
        module: &Arc<vm::CanisterModule>,
    ) -> Result<vm::CanisterState, UserError> {
        let code = canister
            .code
            .as_ref()
            .expect("the caller checked that there is code");
        let keep_heap = keep_heap(code.module(), module, flags)?;
        let mut old = code.state.fork();
        if flags.skip_pre_upgrade != Some(true) {
            self.run(
                canister,
                &mut old,
                vm::EntryPoint::PreUpgrade,
                MessageKind::Upgrade,
            )?;
            // The exchange of code deactivates the timer, also one that was set just now.
            self.global_timer_ns = None;
        }
        let mut new = old
            .upgrade(module, keep_heap)
            .map_err(|error| errors::host("provide memory", &error))?;
        self.run(
            canister,
            &mut new,
            vm::EntryPoint::Start,
            MessageKind::Upgrade,
        )?;
        self.run(
            canister,
            &mut new,
            vm::EntryPoint::PostUpgrade,
            MessageKind::Upgrade,
        )?;
        Ok(new)
    }

    /// Runs one entry point if the state's module has it.
    fn run(
        &mut self,
        canister: &mut Canister,
        state: &mut vm::CanisterState,
        entry: vm::EntryPoint,
        kind: MessageKind,
    ) -> Result<(), UserError> {
        if !state.module().exports().contains(&entry) {
            return Ok(());
        }
        let limits = &self.scene.rules.limits;
        let left = limits
            .install_instructions
            .saturating_sub(self.instructions);
        let mut message = message_facts(self.caller.origin, Vec::new(), 0, true, 0);
        if !matches!(entry, vm::EntryPoint::PreUpgrade) {
            message.payload = Arc::from(self.arg.as_slice());
        }
        let mut vm_limits = vm_limits(self.scene.rules, canister, left);
        vm_limits.stable_dirty_pages = pages(limits.install_stable_bytes);
        vm_limits.stable_accessed_pages = pages(limits.install_stable_bytes);
        let method = match entry {
            vm::EntryPoint::Start => "start",
            vm::EntryPoint::Init => "canister_init",
            vm::EntryPoint::PreUpgrade => "canister_pre_upgrade",
            _ => "canister_post_upgrade",
        };
        let run = Run {
            entry,
            mode: vm::Mode::Replicated,
            kind,
            method: method.to_owned(),
            message,
            limits: vm_limits,
            certificate: None,
        };
        let before = canister.balance;
        canister.balance = self.balance.unwrap_or(before);
        let output = run_on(self.scene, canister, state, run);
        canister.balance = before;
        self.instructions += output.usage.instructions.get();
        let effects = output.result.map_err(|trap| trapped(&canister.id, &trap))?;
        self.pages_dirtied +=
            output.usage.heap_pages_dirtied.get() + output.usage.stable_pages_dirtied.get();
        self.balance = Some(effects.balance.get());
        self.certified_data = effects.certified_data.or(self.certified_data.take());
        self.global_timer_ns = effects.global_timer_ns.or(self.global_timer_ns);
        Ok(())
    }
}

/// Returns whether an upgrade keeps the heap, refusing what would lose a heap that is meant to be kept.
fn keep_heap(
    old: &vm::CanisterModule,
    new: &vm::CanisterModule,
    flags: UpgradeFlags,
) -> Result<bool, UserError> {
    let persistent = |module: &vm::CanisterModule| {
        module
            .custom_sections()
            .iter()
            .any(|section| section.name == ENHANCED_PERSISTENCE)
    };
    let refused = |kind: &str, message: &str| {
        Err(UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("{kind} upgrade option: {message}"),
        ))
    };
    match flags.wasm_memory_persistence {
        Some(WasmMemoryPersistence::Keep) if persistent(new) => Ok(true),
        Some(WasmMemoryPersistence::Keep) => refused(
            "Invalid",
            "The `wasm_memory_persistence: opt Keep` upgrade option requires that the new canister module supports enhanced orthogonal persistence.",
        ),
        Some(WasmMemoryPersistence::Replace) => Ok(false),
        None if persistent(old) => refused(
            "Missing",
            "Enhanced orthogonal persistence requires the `wasm_memory_persistence` upgrade option.",
        ),
        None => Ok(false),
    }
}
