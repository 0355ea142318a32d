//! Names of users and groups, from the system's databases by the C library (so that directory services count too).
//! Kept for a minute: a lookup may go over the network.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User};

/// How long a name is believed.
const LIFETIME: Duration = Duration::from_secs(60);
/// Names kept; the whole cache is emptied beyond it.
const NAMES_MAX: usize = 4096;

/// What a number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Number {
    User(u32),
    Group(u32),
}

/// Looks names up, and remembers them.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Mutex<HashMap<Number, (Option<String>, Instant)>>,
}

impl Names {
    /// The name of user `uid`, if it has one. May block.
    pub(super) fn user(&self, uid: u32) -> Option<String> {
        self.find(Number::User(uid), || Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name)))
    }

    /// The name of group `gid`, if it has one. May block.
    pub(super) fn group(&self, gid: u32) -> Option<String> {
        self.find(Number::Group(gid), || Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name)))
    }

    fn find(&self, number: Number, look_up: impl FnOnce() -> nix::Result<Option<String>>) -> Option<String> {
        let held = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        if let Some((name, since)) = &held
            && since.elapsed() < LIFETIME
        {
            return name.clone();
        }
        // A database that does not answer takes no name from anybody.
        let name = match look_up() {
            Ok(name) => name,
            Err(error) => {
                tracing::warn!(?number, %error, "user database did not answer");
                held.and_then(|(name, _)| name)
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(number, (name.clone(), Instant::now()));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_number_far_out_has_none() {
        let names = Names::default();
        assert_eq!(names.user(0).as_deref(), Some("root"));
        assert_eq!(names.group(0).as_deref(), Some("root"));
        assert_eq!(names.user(3_999_999_999), None);
    }

    #[test]
    fn a_name_is_looked_up_once_a_minute() {
        let names = Names::default();
        let number = Number::User(7);
        assert_eq!(names.find(number, || Ok(Some("seven".to_owned()))).as_deref(), Some("seven"));
        assert_eq!(names.find(number, || panic!("looked up again")).as_deref(), Some("seven"));
    }

    #[test]
    fn a_database_that_fails_leaves_the_last_name_standing() {
        let names = Names::default();
        let number = Number::Group(7);
        let before = Instant::now().checked_sub(LIFETIME).unwrap();
        names.known.lock().unwrap().insert(number, (Some("seven".to_owned()), before));
        assert_eq!(names.find(number, || Err(nix::Error::EIO)).as_deref(), Some("seven"));
    }
}
