//! What makes a machine somebody's: each check of platform certificates and device keys, flipped alone.

mod device;
mod maker;
mod platform;
mod real;

use holdfast_evidence::tpm::Uninvited;
use holdfast_evidence::tpm::ownership::{OfferedOwnership, Ownership};
use maker::Maker;

use crate::stage::Stage;

/// A stage whose server trusts a maker.
struct Made {
    stage: Stage,
    maker: Maker,
}

impl Made {
    fn new() -> Self {
        let (mut stage, maker) = (Stage::new(), Maker::new());
        stage.platforms = maker.roots();
        stage.devices = maker.roots();
        Self { stage, maker }
    }

    /// What the server knows once it has looked at what is offered, or the code of its refusal.
    fn offer(&self, ownership: OfferedOwnership) -> Result<Ownership, &'static str> {
        let invitation = self.stage.invite_offering(ownership);
        match invitation {
            Ok(invitation) => Ok(invitation.expectation().ownership().clone()),
            Err(Uninvited::Evidence(unverified)) => Err(unverified.code()),
            Err(Uninvited::Fault(fault)) => panic!("{fault}"),
        }
    }
}
