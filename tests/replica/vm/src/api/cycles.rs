//! Cycles: balance, acceptance, refunds, burning.

use wasmtime::Linker;

use super::host::{Host, system_call};
use crate::trap::Trap;
use crate::units::Cycles;

/// Joins the halves system calls pass 128-bit amounts in.
pub(crate) fn amount(high: u64, low: u64) -> Cycles {
    Cycles(u128::from(high) << 64 | u128::from(low))
}

fn narrow(amount: Cycles) -> Result<u64, Trap> {
    u64::try_from(amount.get())
        .map_err(|_| Trap::trapped("cycles amount exceeds 64-bit representation"))
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    system_call!(linker, CanisterCycleBalance128(dst: u32), 0, |host, mut heap| {
        heap.write_cycles("ic0_canister_cycle_balance128", dst, host.balance)
    });
    system_call!(linker, CanisterCycleBalance(), 0, |host, _| narrow(
        host.balance
    ));
    system_call!(linker, CanisterLiquidCycleBalance128(dst: u32), 0, |host, mut heap| {
        heap.write_cycles("ic0_canister_liquid_cycle_balance128", dst, host.liquid())
    });
    system_call!(linker, MsgCyclesAvailable128(dst: u32), 0, |host, mut heap| {
        heap.write_cycles("ic0_msg_cycles_available128", dst, host.acceptable())
    });
    system_call!(linker, MsgCyclesAvailable(), 0, |host, _| narrow(
        host.acceptable()
    ));
    system_call!(linker, MsgCyclesRefunded128(dst: u32), 0, |host, mut heap| {
        heap.write_cycles("ic0_msg_cycles_refunded128", dst, host.message.cycles_refunded)
    });
    system_call!(linker, MsgCyclesRefunded(), 0, |host, _| narrow(
        host.message.cycles_refunded
    ));
    system_call!(linker, MsgCyclesAccept128(high: u64, low: u64, dst: u32), 0, |host, mut heap| {
        let accepted = host.accept(amount(high, low));
        heap.write_cycles("ic0_msg_cycles_accept128", dst, accepted)
    });
    system_call!(linker, MsgCyclesAccept(max: u64), 0, |host, _| narrow(host.accept(Cycles(max.into()))));
    system_call!(linker, CyclesBurn128(high: u64, low: u64, dst: u32), 0, |host, mut heap| {
        let burned = amount(high, low).min(host.liquid());
        host.balance -= burned;
        host.cycles_burned += burned;
        heap.write_cycles("ic0_cycles_burn128", dst, burned)
    });
    Ok(())
}

impl Host {
    fn acceptable(&self) -> Cycles {
        self.message
            .cycles_available
            .saturating_sub(self.cycles_accepted)
    }

    fn accept(&mut self, max: Cycles) -> Cycles {
        let accepted = max.min(self.acceptable());
        self.balance = self.balance.saturating_add(accepted);
        self.cycles_accepted += accepted;
        accepted
    }
}
