//! Where a function body charges instructions, and the code that does.
//!
//! A basic block is charged as a whole at its start. The counter may go below zero on the way;
//! it is looked at only where execution can repeat: at function entry and at loop headers. Bulk
//! operations charge their size operand before they execute, and look at the counter then.

use wasm_encoder::{BlockType, Function, Instruction};
use wasmparser::Operator;

use super::cost::operator_cost;

/// Even an empty function costs something to enter.
const FUNCTION_ENTRY_COST: u64 = 1;

/// What is charged at a position of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// The block that starts here.
    Block {
        /// Sum of its operators' static costs.
        cost: u64,
        /// Whether execution can come back here, so that the limit must be checked.
        repeats: bool,
    },
    /// The 32-bit size operand on top of the stack.
    SizeOperand,
}

/// A charge and the index of the operator it precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChargePoint {
    /// Index into the body's operators.
    pub position: usize,
    /// What to charge.
    pub charge: Charge,
}

/// Returns the charges of a body in order of position.
pub(crate) fn charge_points(operators: &[Operator<'_>]) -> Vec<ChargePoint> {
    let mut points = Vec::new();
    let mut start = 0;
    let mut cost = FUNCTION_ENTRY_COST;
    let mut repeats = true;
    for (position, operator) in operators.iter().enumerate() {
        cost += operator_cost(operator);
        if charges_size_operand(operator) {
            points.push(ChargePoint {
                position,
                charge: Charge::SizeOperand,
            });
        }
        if ends_block(operator) {
            points.push(ChargePoint {
                position: start,
                charge: Charge::Block { cost, repeats },
            });
            start = position + 1;
            cost = 0;
            repeats = matches!(operator, Operator::Loop { .. });
        }
    }
    // Stable: at one position a size operand is charged before the block, as on the IC.
    points.sort_by_key(|point| point.position);
    points.retain(|point| {
        !matches!(
            point.charge,
            Charge::Block {
                cost: 0,
                repeats: false
            }
        )
    });
    points
}

fn ends_block(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
    )
}

fn charges_size_operand(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
    )
}

/// Indices of what instrumentation adds to the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injected {
    /// The global that counts down; an `i64`.
    pub counter: u32,
    /// The global that the counter is compared with; an `i64`, 0 unless the engine takes a profile.
    pub watermark: u32,
    /// The import that is called when the counter is below the watermark; it traps below zero.
    pub out_of_instructions: u32,
    /// The function that charges an `i64` amount and returns it.
    pub charge_amount: u32,
}

/// Emits one charge.
pub(crate) fn emit_charge(function: &mut Function, charge: Charge, injected: &Injected) {
    match charge {
        Charge::Block { cost, repeats } => {
            function.instruction(&Instruction::GlobalGet(injected.counter));
            // A body is at most 1,000,000 operators of at most 300 instructions.
            function.instruction(&Instruction::I64Const(
                i64::try_from(cost).expect("a block's cost is bounded by the function size limit"),
            ));
            function.instruction(&Instruction::I64Sub);
            function.instruction(&Instruction::GlobalSet(injected.counter));
            if repeats {
                emit_check(function, injected);
            }
        }
        Charge::SizeOperand => {
            function.instruction(&Instruction::I64ExtendI32U);
            function.instruction(&Instruction::Call(injected.charge_amount));
            function.instruction(&Instruction::I32WrapI64);
        }
    }
}

fn emit_check(function: &mut Function, injected: &Injected) {
    function.instruction(&Instruction::GlobalGet(injected.counter));
    function.instruction(&Instruction::GlobalGet(injected.watermark));
    function.instruction(&Instruction::I64LtS);
    function.instruction(&Instruction::If(BlockType::Empty));
    function.instruction(&Instruction::Call(injected.out_of_instructions));
    function.instruction(&Instruction::End);
}

/// Returns the body of `charge_amount : (i64) -> (i64)`.
///
/// Amounts are 32-bit operands and the counter is above -2^40 when it is called, so the
/// subtraction cannot wrap.
pub(crate) fn charge_amount_body(injected: &Injected) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::GlobalGet(injected.counter));
    function.instruction(&Instruction::LocalGet(0));
    function.instruction(&Instruction::I64Sub);
    function.instruction(&Instruction::GlobalSet(injected.counter));
    emit_check(&mut function, injected);
    function.instruction(&Instruction::LocalGet(0));
    function.instruction(&Instruction::End);
    function
}
