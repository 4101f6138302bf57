//! The system interface as a table: signature, fixed price and where each call is allowed.

use wasmparser::ValType;

use super::context::Contexts;
use Contexts as C;

const I: ValType = ValType::I32;
const L: ValType = ValType::I64;

macro_rules! apis {
    ($($variant:ident $name:literal ($($param:ident)*) ($($result:ident)?) $overhead:literal $allowed:ident;)*) => {
        /// A function of module `ic0`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Api {
            $(#[doc = concat!("`ic0.", $name, "`")] $variant,)*
        }

        impl Api {
            /// Every function.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the import's name.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the function imported as `name`.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Returns the parameter types.
            pub(crate) const fn params(self) -> &'static [ValType] {
                match self { $(Self::$variant => &[$($param),*],)* }
            }

            /// Returns the result types.
            pub(crate) const fn results(self) -> &'static [ValType] {
                match self { $(Self::$variant => &[$($result)?],)* }
            }

            /// Returns the fixed price in instructions, besides the price per byte.
            pub(crate) const fn overhead(self) -> u64 {
                match self { $(Self::$variant => $overhead,)* }
            }

            /// Returns where the call is allowed.
            pub(crate) const fn allowed(self) -> Contexts {
                match self { $(Self::$variant => C::$allowed,)* }
            }
        }
    };
}

apis! {
    MsgArgDataSize "msg_arg_data_size" () (I) 500 PAYLOAD;
    MsgArgDataCopy "msg_arg_data_copy" (I I I) () 500 PAYLOAD;
    MsgCallerSize "msg_caller_size" () (I) 500 NOT_START;
    MsgCallerCopy "msg_caller_copy" (I I I) () 500 NOT_START;
    MsgCallerInfoDataSize "msg_caller_info_data_size" () (I) 500 NOT_START;
    MsgCallerInfoDataCopy "msg_caller_info_data_copy" (I I I) () 500 NOT_START;
    MsgCallerInfoSignerSize "msg_caller_info_signer_size" () (I) 500 NOT_START;
    MsgCallerInfoSignerCopy "msg_caller_info_signer_copy" (I I I) () 500 NOT_START;
    MsgRejectCode "msg_reject_code" () (I) 500 RESPONSES;
    MsgRejectMsgSize "msg_reject_msg_size" () (I) 500 REJECTIONS;
    MsgRejectMsgCopy "msg_reject_msg_copy" (I I I) () 500 REJECTIONS;
    MsgDeadline "msg_deadline" () (L) 500 ANSWERS;
    MsgReplyDataAppend "msg_reply_data_append" (I I) () 500 ANSWERS;
    MsgReply "msg_reply" () () 500 ANSWERS;
    MsgReject "msg_reject" (I I) () 500 ANSWERS;
    MsgCyclesAvailable128 "msg_cycles_available128" (I) () 500 CYCLES;
    MsgCyclesRefunded128 "msg_cycles_refunded128" (I) () 500 REFUNDS;
    MsgCyclesAccept128 "msg_cycles_accept128" (L L I) () 500 CYCLES;
    CyclesBurn128 "cycles_burn128" (L L I) () 500 BURNS;
    CanisterSelfSize "canister_self_size" () (I) 500 NOT_START;
    CanisterSelfCopy "canister_self_copy" (I I I) () 500 NOT_START;
    CanisterCycleBalance128 "canister_cycle_balance128" (I) () 500 NOT_START;
    CanisterLiquidCycleBalance128 "canister_liquid_cycle_balance128" (I) () 500 NOT_START;
    CanisterStatus "canister_status" () (I) 500 NOT_START;
    CanisterVersion "canister_version" () (L) 500 NOT_START;
    SubnetSelfSize "subnet_self_size" () (I) 500 NOT_START;
    SubnetSelfCopy "subnet_self_copy" (I I I) () 500 NOT_START;
    SubnetSelfNodeCount "subnet_self_node_count" () (I) 500 NOT_START;
    MsgMethodNameSize "msg_method_name_size" () (I) 500 INSPECT;
    MsgMethodNameCopy "msg_method_name_copy" (I I I) () 500 INSPECT;
    AcceptMessage "accept_message" () () 500 INSPECT;
    CallNew "call_new" (I I I I I I I I) () 1500 CALLS;
    CallOnCleanup "call_on_cleanup" (I I) () 500 CALLS;
    CallDataAppend "call_data_append" (I I) () 500 CALLS;
    CallWithBestEffortResponse "call_with_best_effort_response" (I) () 500 CALLS;
    CallCyclesAdd128 "call_cycles_add128" (L L) () 500 PAYMENTS;
    CallPerform "call_perform" () (I) 5000 CALLS;
    // Stable memory is priced as the IC's native implementation: see `stable.rs`.
    Stable64Size "stable64_size" () (L) 0 ALL;
    Stable64Grow "stable64_grow" (L) (L) 100 ALL;
    Stable64Write "stable64_write" (L L L) () 20 ALL;
    Stable64Read "stable64_read" (L L L) () 20 ALL;
    RootKeySize "root_key_size" () (I) 500 REPLICATED;
    RootKeyCopy "root_key_copy" (I I I) () 500 REPLICATED;
    CertifiedDataSet "certified_data_set" (I I) () 500 CERTIFIES;
    DataCertificatePresent "data_certificate_present" () (I) 500 NOT_START;
    DataCertificateSize "data_certificate_size" () (I) 500 CERTIFICATE;
    DataCertificateCopy "data_certificate_copy" (I I I) () 500 CERTIFICATE;
    Time "time" () (L) 500 NOT_START;
    GlobalTimerSet "global_timer_set" (L) (L) 500 TIMER;
    PerformanceCounter "performance_counter" (I) (L) 200 ALL;
    IsController "is_controller" (I I) (I) 1000 ALL;
    InReplicatedExecution "in_replicated_execution" () (I) 500 ALL;
    CostCall "cost_call" (L L I) () 500 ALL;
    CostCreateCanister "cost_create_canister" (I) () 500 ALL;
    CostHttpRequest "cost_http_request" (L L I) () 500 ALL;
    CostHttpRequestV2 "cost_http_request_v2" (I I I) () 10000 ALL;
    CostSignWithEcdsa "cost_sign_with_ecdsa" (I I I I) (I) 500 ALL;
    CostSignWithSchnorr "cost_sign_with_schnorr" (I I I I) (I) 500 ALL;
    CostVetkdDeriveKey "cost_vetkd_derive_key" (I I I I) (I) 500 ALL;
    EnvVarCount "env_var_count" () (I) 500 NOT_START;
    EnvVarNameSize "env_var_name_size" (I) (I) 500 NOT_START;
    EnvVarNameCopy "env_var_name_copy" (I I I I) () 500 NOT_START;
    EnvVarNameExists "env_var_name_exists" (I I) (I) 500 NOT_START;
    EnvVarValueSize "env_var_value_size" (I I) (I) 500 NOT_START;
    EnvVarValueCopy "env_var_value_copy" (I I I I I) () 500 NOT_START;
    DebugPrint "debug_print" (I I) () 100 ALL;
    Trap "trap" (I I) () 500 ALL;
    // Older than ic0 1.2.0, still accepted by the IC.
    MsgCyclesAvailable "msg_cycles_available" () (L) 500 CYCLES;
    MsgCyclesRefunded "msg_cycles_refunded" () (L) 500 REFUNDS;
    MsgCyclesAccept "msg_cycles_accept" (L) (L) 500 CYCLES;
    CanisterCycleBalance "canister_cycle_balance" () (L) 500 NOT_START;
    CallCyclesAdd "call_cycles_add" (L) () 500 PAYMENTS;
    StableSize "stable_size" () (I) 0 ALL;
    StableGrow "stable_grow" (I) (I) 100 ALL;
    StableWrite "stable_write" (I I I) () 20 ALL;
    StableRead "stable_read" (I I I) () 20 ALL;
}
