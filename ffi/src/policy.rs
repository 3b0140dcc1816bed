//! Which delivery model an update takes.

use crate::{
    agent::{WAFT_MODEL_A, WAFT_MODEL_B, WAFT_MODEL_C},
    error::{Fail, result},
    handle::{Out, lent},
};
use waft::{
    Misuse,
    ota::policy::{Choice, Link, Model, Policy, Severity, UpdateType},
};

/// A row of choices by severity, for each type of update, as C gives it.
pub(crate) fn policy(given: &[[u8; 3]; 2]) -> Result<Policy, Fail> {
    let mut policy = Policy::PAPER;
    for (row, given) in policy.table.iter_mut().zip(given) {
        for (choice, given) in row.iter_mut().zip(given) {
            *choice = Choice::from_u8(*given).ok_or(Misuse::OutOfRange)?;
        }
    }
    Ok(policy)
}

/// Chooses the model that an update of `kind` (WAFT_TYPE_...) and `severity` (WAFT_SEVERITY_...) takes on a link where
/// a kilobyte of image costs `cost_a` by model A and `cost_b` by model B. `*model` becomes WAFT_MODEL_A, WAFT_MODEL_B
/// or WAFT_MODEL_C.
///
/// `table` points to two rows of three WAFT_CHOICE_..., by type and severity, as `policy` of waft_agent_config_t; NULL
/// stands for {A, B, CHEAPER} twice.
///
/// WAFT_ERROR_OUT_OF_RANGE: a number that is none of those.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn waft_policy_choose(
    table: *const [u8; 3],
    kind: u8,
    severity: u8,
    cost_a: u32,
    cost_b: u32,
    model: *mut u8,
) -> i32 {
    result((|| {
        let out = Out::new(model)?;
        let policy = if table.is_null() {
            Policy::PAPER
        } else {
            // SAFETY: C lends two rows.
            policy(unsafe { lent(table.cast::<[[u8; 3]; 2]>(), 1) }?.first().ok_or(Misuse::NullPointer)?)?
        };
        let kind = UpdateType::from_u8(kind).ok_or(Misuse::OutOfRange)?;
        let severity = Severity::from_u8(severity).ok_or(Misuse::OutOfRange)?;
        let chosen = match policy.choose(kind, severity, Link { a: cost_a, b: cost_b }) {
            Model::A => WAFT_MODEL_A,
            Model::B => WAFT_MODEL_B,
            Model::C => WAFT_MODEL_C,
        };
        // SAFETY: C lends the place of the model.
        unsafe { out.set(chosen) };
        Ok(())
    })())
}
