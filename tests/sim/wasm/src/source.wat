;; The blocks source of a simulated canister: it hands each question on to the management canister,
;; where the simulation finds it and answers it, whenever and however it likes. What it is asked to
;; broadcast it takes.
(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_append (param i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory (export "memory") 128)
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $answered $refused)
  ;; The one method of the management canister that takes any bytes and waits for an answer from outside.
  (data (i32.const 0) "bitcoin_send_transaction_internal")
  (data (i32.const 64) "DIDL\00\00")

  (func (export "canister_update bitcoin_get_successors")
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $call_new
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 33)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_append (i32.const 4096) (call $arg_size))
    (if (call $perform) (then (unreachable))))
  (func $answered (param i32)
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $append (i32.const 4096) (call $arg_size))
    (call $reply))
  (func $refused (param i32)
    (call $reject_copy (i32.const 4096) (i32.const 0) (call $reject_size))
    (call $reject (i32.const 4096) (call $reject_size)))

  (func (export "canister_update bitcoin_send_transaction_internal")
    (call $append (i32.const 64) (i32.const 6))
    (call $reply)))
