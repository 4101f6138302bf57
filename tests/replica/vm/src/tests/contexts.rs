//! Every system call in every context, against the interface specification's table.

use super::*;
use crate::api::context::Context;
use crate::api::table::Api;

/// Where each call is allowed, in the specification's letters: I init and post_upgrade, G
/// pre_upgrade, U update, RQ, NRQ and CQ queries, Ry and Rt callbacks, CRy and CRt those of
/// composite queries, C and CC clean-ups, s start, F inspect_message, T tasks; `*` is all but s.
const SPECIFICATION: &[(&str, &str)] = &[
    (
        "msg_arg_data_size msg_arg_data_copy",
        "I U RQ NRQ CQ Ry CRy F",
    ),
    ("msg_caller_size msg_caller_copy", "*"),
    ("msg_caller_info_data_size msg_caller_info_data_copy", "*"),
    (
        "msg_caller_info_signer_size msg_caller_info_signer_copy",
        "*",
    ),
    ("msg_reject_code", "Ry Rt CRy CRt"),
    ("msg_reject_msg_size msg_reject_msg_copy", "Rt CRt"),
    ("msg_deadline", "U RQ NRQ CQ Ry Rt CRy CRt"),
    (
        "msg_reply_data_append msg_reply msg_reject",
        "U RQ NRQ CQ Ry Rt CRy CRt",
    ),
    ("msg_cycles_available msg_cycles_available128", "U RQ Rt Ry"),
    ("msg_cycles_refunded msg_cycles_refunded128", "Rt Ry"),
    ("msg_cycles_accept msg_cycles_accept128", "U RQ Rt Ry"),
    ("cycles_burn128", "I G U RQ Ry Rt C T"),
    ("canister_self_size canister_self_copy", "*"),
    (
        "canister_cycle_balance canister_cycle_balance128 canister_liquid_cycle_balance128",
        "*",
    ),
    ("canister_status canister_version", "*"),
    (
        "subnet_self_size subnet_self_copy subnet_self_node_count",
        "*",
    ),
    (
        "msg_method_name_size msg_method_name_copy accept_message",
        "F",
    ),
    (
        "call_new call_on_cleanup call_data_append",
        "U CQ Ry Rt CRy CRt T",
    ),
    (
        "call_with_best_effort_response call_perform",
        "U CQ Ry Rt CRy CRt T",
    ),
    ("call_cycles_add call_cycles_add128", "U Ry Rt T"),
    ("stable_size stable_grow stable_write stable_read", "* s"),
    (
        "stable64_size stable64_grow stable64_write stable64_read",
        "* s",
    ),
    ("root_key_size root_key_copy", "I G U RQ Ry Rt C T"),
    ("certified_data_set", "I G U Ry Rt T"),
    ("data_certificate_present", "*"),
    ("data_certificate_size data_certificate_copy", "NRQ CQ"),
    ("time", "*"),
    ("global_timer_set", "I G U Ry Rt C T"),
    (
        "performance_counter is_controller in_replicated_execution",
        "* s",
    ),
    (
        "cost_call cost_create_canister cost_http_request cost_http_request_v2",
        "* s",
    ),
    (
        "cost_sign_with_ecdsa cost_sign_with_schnorr cost_vetkd_derive_key",
        "* s",
    ),
    ("env_var_count env_var_name_size env_var_name_copy", "*"),
    (
        "env_var_name_exists env_var_value_size env_var_value_copy",
        "*",
    ),
    ("debug_print trap", "* s"),
];

fn letter(context: Context) -> &'static str {
    match context {
        Context::Start => "s",
        Context::Init => "I",
        Context::PreUpgrade => "G",
        Context::Heartbeat | Context::GlobalTimer | Context::LowWasmMemory => "T",
        Context::Update => "U",
        Context::ReplicatedQuery => "RQ",
        Context::NonReplicatedQuery => "NRQ",
        Context::CompositeQuery => "CQ",
        Context::ReplyCallback => "Ry",
        Context::RejectCallback => "Rt",
        Context::CompositeReplyCallback => "CRy",
        Context::CompositeRejectCallback => "CRt",
        Context::Cleanup => "C",
        Context::CompositeCleanup => "CC",
        Context::InspectMessage => "F",
    }
}

fn entry(context: Context) -> (EntryPoint, Mode) {
    use EntryPoint as E;
    let callback = Callback { fun: 0, env: 0 };
    let method = || "m".to_owned();
    match context {
        Context::Start => (E::Start, Mode::Replicated),
        Context::Init => (E::Init, Mode::Replicated),
        Context::PreUpgrade => (E::PreUpgrade, Mode::Replicated),
        Context::Heartbeat => (E::Heartbeat, Mode::Replicated),
        Context::GlobalTimer => (E::GlobalTimer, Mode::Replicated),
        Context::LowWasmMemory => (E::LowWasmMemory, Mode::Replicated),
        Context::Update => (E::Update(method()), Mode::Replicated),
        Context::ReplicatedQuery => (E::Query("q".to_owned()), Mode::Replicated),
        Context::NonReplicatedQuery => (E::Query("q".to_owned()), Mode::NonReplicated),
        Context::CompositeQuery => (E::CompositeQuery("c".to_owned()), Mode::Composite),
        Context::ReplyCallback => (E::ReplyCallback(callback), Mode::Replicated),
        Context::RejectCallback => (E::RejectCallback(callback), Mode::Replicated),
        Context::CompositeReplyCallback => (E::ReplyCallback(callback), Mode::Composite),
        Context::CompositeRejectCallback => (E::RejectCallback(callback), Mode::Composite),
        Context::Cleanup => (E::Cleanup(callback), Mode::Replicated),
        Context::CompositeCleanup => (E::Cleanup(callback), Mode::Composite),
        Context::InspectMessage => (E::InspectMessage, Mode::NonReplicated),
    }
}

fn wat_type(types: &[wasmparser::ValType]) -> String {
    types.iter().map(|ty| format!(" {ty}")).collect()
}

/// A canister that makes one system call, with zeros as arguments, whatever it is asked.
fn canister_calling(api: Api) -> Canister {
    let constants: String = api
        .params()
        .iter()
        .map(|ty| format!(" {ty}.const 0"))
        .collect();
    let drop = if api.results().is_empty() { "" } else { "drop" };
    Canister::new(&format!(
        r#"(module
            (import "ic0" "{}" (func $api (param{}) (result{})))
            (memory 1)
            (table 1 funcref)
            (elem (i32.const 0) $callback)
            (func $run {constants} call $api {drop})
            (func $callback (param i32) call $run)
            (start $run)
            (export "canister_init" (func $run))
            (export "canister_pre_upgrade" (func $run))
            (export "canister_heartbeat" (func $run))
            (export "canister_global_timer" (func $run))
            (export "canister_on_low_wasm_memory" (func $run))
            (export "canister_inspect_message" (func $run))
            (export "canister_update m" (func $run))
            (export "canister_query q" (func $run))
            (export "canister_composite_query c" (func $run)))"#,
        api.name(),
        wat_type(api.params()),
        wat_type(api.results()),
    ))
}

fn specified(api: Api, context: Context) -> bool {
    let row = SPECIFICATION
        .iter()
        .find(|(names, _)| names.split(' ').any(|n| n == api.name()));
    let (_, letters) = row.unwrap_or_else(|| panic!("{} is not in the table", api.name()));
    letters
        .split(' ')
        .any(|l| l == letter(context) || (l == "*" && context != Context::Start))
}

#[test]
fn every_call_is_allowed_where_the_specification_says_and_refused_elsewhere() {
    for api in Api::ALL.iter().copied() {
        let mut canister = canister_calling(api);
        for context in Context::ALL {
            let (entry, mode) = entry(context);
            let mut message = input(entry, mode);
            message.facts.data_certificate = Some(Arc::from(*b"certificate"));
            assert_eq!(Context::of(&message.entry, mode), context);
            let result = canister.run(message).result;
            let refusal = result.as_ref().err().filter(|trap| {
                trap.message.ends_with(&format!(
                    "cannot be executed in {} mode",
                    context.describe()
                ))
            });
            assert_eq!(
                refusal.is_none(),
                specified(api, context),
                "{api:?} in {context:?}"
            );
            if let Some(trap) = refusal {
                assert_eq!(trap.kind, TrapKind::CanisterContractViolation);
                assert!(
                    trap.help
                        .contains("calling-a-system-api-from-the-wrong-mode")
                );
            }
        }
    }
}

#[test]
fn every_function_of_ic0_1_2_is_provided() {
    // Names as of the crate ic0 1.2.0.
    let names = "msg_arg_data_size msg_arg_data_copy msg_caller_size msg_caller_copy
        msg_caller_info_data_size msg_caller_info_data_copy msg_caller_info_signer_size
        msg_caller_info_signer_copy msg_reject_code msg_reject_msg_size msg_reject_msg_copy
        msg_deadline msg_reply_data_append msg_reply msg_reject msg_cycles_available128
        msg_cycles_refunded128 msg_cycles_accept128 cycles_burn128 canister_self_size
        canister_self_copy canister_cycle_balance128 canister_liquid_cycle_balance128
        canister_status canister_version subnet_self_size subnet_self_copy
        subnet_self_node_count msg_method_name_size msg_method_name_copy accept_message call_new
        call_on_cleanup call_data_append call_with_best_effort_response call_cycles_add128
        call_perform stable64_size stable64_grow stable64_write stable64_read root_key_size
        root_key_copy certified_data_set data_certificate_present data_certificate_size
        data_certificate_copy time global_timer_set performance_counter is_controller
        in_replicated_execution cost_call cost_create_canister cost_http_request
        cost_http_request_v2 cost_sign_with_ecdsa cost_sign_with_schnorr cost_vetkd_derive_key
        env_var_count env_var_name_size env_var_name_copy env_var_name_exists env_var_value_size
        env_var_value_copy debug_print trap";
    for name in names.split_whitespace() {
        assert!(Api::from_name(name).is_some(), "{name}");
    }
    assert_eq!(names.split_whitespace().count(), 67);
}
