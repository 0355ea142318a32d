//! The life of what signs: prepared, then active, then old; perhaps tainted; and gone at the end. By schedule and by an
//! operator's command, in SPIRE's words.
//!
//! Pure: what an authority is (a key for tokens, a root, an intermediate), where it is kept and what publishing means is
//! the caller's part. Knows times and stages, and says what is due and what is allowed.
//!
//! ```text
//!           half of the active one's life        ⅚, and published long enough      everything it signed has ended
//! (drawn) ──────────────────────────▶ prepared ─────────────────────────▶ active ─▶ old ──────────────────────▶ gone
//!                                                                                    └─ taint ─▶ tainted ─ revoke ─▶ gone
//! ```

use holdfast_identity::UnixTime;

/// Where in its life an authority is. All that are here are in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Published, and signs nothing yet.
    Prepared,
    /// Signs.
    Active,
    /// Signs no more; what it signed counts.
    Old,
    /// Signs no more; what it signed counts, and is to be replaced by whoever holds it.
    Tainted,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 4] = [Self::Prepared, Self::Active, Self::Old, Self::Tainted];

    /// As commands and the store name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Tainted => "tainted",
        }
    }

    /// As commands and the store name it, read back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// The times of one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub stage: Stage,
    /// When it was published.
    pub prepared_at: UnixTime,
    /// When it began to sign.
    pub activated_at: Option<UnixTime>,
    /// It signs nothing that ends later.
    pub ends: UnixTime,
    /// The latest end of what it has signed; its own end where nobody counts.
    pub used_until: UnixTime,
}

/// Something that lives so.
pub trait Living {
    /// Its name, as commands have it.
    fn id(&self) -> &str;
    /// Its times.
    fn life(&self) -> &Life;
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Seconds that an authority lives.
    pub lifetime: i64,
    /// Seconds that it must have been published before it signs: until everybody who verifies has heard of it.
    pub lead: i64,
    /// Seconds after the end of everything it signed until it leaves the bundle: what clocks differ by.
    pub settle: i64,
}

/// Something that is due by the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the next one and publish it.
    Prepare,
    /// This one signs from now on; the active one becomes old.
    Activate(String),
    /// This one leaves the bundle.
    Retire(String),
}

/// What an operator may command of an authority that is there. Preparing needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sign by it from now on.
    Activate,
    /// Replace what it signed.
    Taint,
    /// Take it out of the bundle now: what it signed counts no more.
    Revoke,
}

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifeRefusal {
    /// No authority has this ID.
    #[error("no authority {id}: `authority jwt show` and `authority x509 show` list them")]
    Unknown {
        /// The ID that was asked for.
        id: String,
    },
    /// It is at another point of its life.
    #[error("authority {id} is {found}, expected {expected}")]
    Stage {
        /// Its ID.
        id: String,
        /// Where it is.
        found: &'static str,
        /// Where it must be.
        expected: &'static str,
    },
    /// One is prepared already.
    #[error("authority {id} is prepared already: activate it, or wait until it is due")]
    AlreadyPrepared {
        /// The prepared one's ID.
        id: String,
    },
    /// Its key is held by another server.
    #[error("authority {id} is another server's: ask that server")]
    Elsewhere {
        /// Its ID.
        id: String,
    },
    /// Its end has come.
    #[error("authority {id} has ended")]
    Ended {
        /// Its ID.
        id: String,
    },
}

impl LifeRefusal {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "authority.life.unknown",
            Self::Stage { .. } => "authority.life.stage",
            Self::AlreadyPrepared { .. } => "authority.life.already_prepared",
            Self::Elsewhere { .. } => "authority.life.elsewhere",
            Self::Ended { .. } => "authority.life.ended",
        }
    }
}

impl Schedule {
    /// The life of an authority that is published now.
    #[must_use]
    pub const fn prepared(&self, now: UnixTime) -> Life {
        Life {
            stage: Stage::Prepared,
            prepared_at: now,
            activated_at: None,
            ends: now.plus(self.lifetime),
            used_until: now,
        }
    }

    /// What is due first; nothing if there is nothing to do. `ours` are those that this server signs with, `theirs` other
    /// servers', which are only seen off when their end is long over.
    #[must_use]
    pub fn due<'a, L: Living + 'a>(
        &self,
        ours: impl IntoIterator<Item = &'a L> + Clone,
        theirs: impl IntoIterator<Item = &'a L>,
        now: UnixTime,
    ) -> Option<Step> {
        let at = |stage| ours.clone().into_iter().find(move |one| one.life().stage == stage);
        let active = at(Stage::Active).map(Living::life).filter(|life| now < life.ends);
        match (active, at(Stage::Prepared)) {
            (_, Some(prepared)) if now >= prepared.life().ends => return Some(Step::Retire(prepared.id().to_owned())),
            // Nobody signs: whoever is prepared does at once, for a token that some do not know yet is better than none.
            (None, Some(prepared)) => return Some(Step::Activate(prepared.id().to_owned())),
            (None, None) => return Some(Step::Prepare),
            (Some(active), Some(prepared)) => {
                let published = now >= prepared.life().prepared_at.plus(self.lead);
                if published && now >= active.ends.plus(-(span(active) / 6)) {
                    return Some(Step::Activate(prepared.id().to_owned()));
                }
            }
            (Some(active), None) if now >= active.prepared_at.plus(span(active) / 2) => return Some(Step::Prepare),
            (Some(_), None) => {}
        }
        let is_over = |end: UnixTime| now >= end.plus(self.settle);
        let done = ours.into_iter().find(|one| match one.life().stage {
            Stage::Old | Stage::Tainted => is_over(one.life().used_until),
            Stage::Prepared | Stage::Active => false,
        });
        let lost = || theirs.into_iter().find(|one| is_over(one.life().ends));
        done.or_else(lost).map(|one| Step::Retire(one.id().to_owned()))
    }
}

/// Seconds of its whole life.
const fn span(life: &Life) -> i64 {
    life.ends.since(life.prepared_at)
}

/// Whether `command` may be carried out on `authority`, and where it is afterwards; `None` for gone.
///
/// # Errors
/// [`LifeRefusal`]: only a prepared authority is activated, only an old one tainted, only a tainted one revoked.
pub fn command(authority: &impl Living, command: Command, now: UnixTime) -> Result<Option<Stage>, LifeRefusal> {
    let (life, id) = (authority.life(), authority.id().to_owned());
    let (expected, after) = match command {
        Command::Activate if now >= life.ends => return Err(LifeRefusal::Ended { id }),
        Command::Activate => (Stage::Prepared, Some(Stage::Active)),
        Command::Taint => (Stage::Old, Some(Stage::Tainted)),
        Command::Revoke => (Stage::Tainted, None),
    };
    if life.stage == expected {
        Ok(after)
    } else {
        Err(LifeRefusal::Stage { id, found: life.stage.as_str(), expected: expected.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { lifetime: 6000, lead: 300, settle: 60 };
    const BEGIN: UnixTime = UnixTime(1_000_000);

    #[derive(Clone, Debug)]
    struct Key(&'static str, Life);

    impl Living for Key {
        fn id(&self) -> &str {
            self.0
        }
        fn life(&self) -> &Life {
            &self.1
        }
    }

    fn key(id: &'static str, stage: Stage, prepared: i64) -> Key {
        Key(id, Life { stage, ..SCHEDULE.prepared(BEGIN.plus(prepared)) })
    }

    fn due(ours: &[Key], at: i64) -> Option<Step> {
        SCHEDULE.due(ours, &[], BEGIN.plus(at))
    }

    #[test]
    fn whoever_signs_nothing_prepares_and_activates_at_once() {
        assert_eq!(due(&[], 0), Some(Step::Prepare));
        assert_eq!(due(&[key("a", Stage::Prepared, 0)], 0), Some(Step::Activate("a".to_owned())));
        let ended = [key("a", Stage::Active, 0)];
        assert_eq!(due(&ended, 6000), Some(Step::Prepare));
        let both = [key("a", Stage::Active, 0), key("b", Stage::Prepared, 5999)];
        assert_eq!(due(&both, 6000), Some(Step::Activate("b".to_owned())));
    }

    #[test]
    fn the_next_is_prepared_at_half_life_and_activated_when_a_sixth_is_left() {
        let active = [key("a", Stage::Active, 0)];
        assert_eq!(due(&active, 2999), None);
        assert_eq!(due(&active, 3000), Some(Step::Prepare));
        let both = [key("a", Stage::Active, 0), key("b", Stage::Prepared, 3000)];
        assert_eq!(due(&both, 4999), None);
        assert_eq!(due(&both, 5000), Some(Step::Activate("b".to_owned())));
    }

    #[test]
    fn nothing_signs_before_it_was_published_long_enough() {
        let both = [key("a", Stage::Active, 0), key("b", Stage::Prepared, 4900)];
        assert_eq!(due(&both, 5199), None);
        assert_eq!(due(&both, 5200), Some(Step::Activate("b".to_owned())));
    }

    #[test]
    fn an_old_one_stays_until_everything_it_signed_has_ended() {
        let mut old = key("a", Stage::Old, 0);
        old.1.used_until = BEGIN.plus(1000);
        let active = key("b", Stage::Active, 500);
        assert_eq!(due(&[old.clone(), active.clone()], 1059), None);
        assert_eq!(due(&[old.clone(), active.clone()], 1060), Some(Step::Retire("a".to_owned())));
        old.1.stage = Stage::Tainted;
        assert_eq!(due(&[old, active], 1060), Some(Step::Retire("a".to_owned())));
    }

    #[test]
    fn anothers_stays_until_its_own_end_whatever_its_stage() {
        let (ours, theirs) = ([key("b", Stage::Active, 4000)], [key("a", Stage::Active, 0)]);
        assert_eq!(SCHEDULE.due(&ours, &theirs, BEGIN.plus(6059)), None);
        assert_eq!(SCHEDULE.due(&ours, &theirs, BEGIN.plus(6060)), Some(Step::Retire("a".to_owned())));
    }

    #[test]
    fn each_command_wants_its_own_stage() {
        for stage in Stage::ALL {
            let one = key("a", stage, 0);
            for (asked, wanted, after) in [
                (Command::Activate, Stage::Prepared, Some(Stage::Active)),
                (Command::Taint, Stage::Old, Some(Stage::Tainted)),
                (Command::Revoke, Stage::Tainted, None),
            ] {
                let answer = command(&one, asked, BEGIN);
                if stage == wanted {
                    assert_eq!(answer, Ok(after));
                } else {
                    assert_eq!(answer.unwrap_err().code(), "authority.life.stage", "{asked:?} {stage:?}");
                }
            }
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
        let ended = command(&key("a", Stage::Prepared, 0), Command::Activate, BEGIN.plus(6000));
        assert_eq!(ended.unwrap_err().code(), "authority.life.ended");
    }
}
