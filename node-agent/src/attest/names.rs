//! Names of users and groups, from the system's databases by the C library (so that directory services count too).
//! Kept for a minute: a lookup may go over the network.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
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
    ///
    /// # Errors
    /// Where the database does not say, and did not before.
    pub(super) fn user(&self, uid: u32) -> io::Result<Option<String>> {
        self.find(Number::User(uid), || Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name)))
    }

    /// The name of group `gid`, if it has one. May block.
    ///
    /// # Errors
    /// As for [`Self::user`].
    pub(super) fn group(&self, gid: u32) -> io::Result<Option<String>> {
        self.find(Number::Group(gid), || Ok(Group::from_gid(Gid::from_raw(gid))?.map(|group| group.name)))
    }

    fn find(
        &self,
        number: Number,
        look_up: impl FnOnce() -> nix::Result<Option<String>>,
    ) -> io::Result<Option<String>> {
        let held = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        if let Some((name, since)) = &held
            && since.elapsed() < LIFETIME
        {
            return Ok(name.clone());
        }
        let name = match (look_up(), held) {
            (Ok(name), _) => name,
            // The C library's other words for "there is none" (getpwuid_r(3)).
            (Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM), _) => None,
            // A database that does not answer takes no name from anybody: the last one stands. Where there is none, it
            // is not known who asks, which is less than to know that he has no name.
            (Err(error), Some((name, _))) => {
                tracing::warn!(?number, %error, "user database did not answer");
                name
            }
            (Err(error), None) => return Err(error.into()),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(number, (name.clone(), Instant::now()));
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_number_far_out_has_none() {
        let names = Names::default();
        assert_eq!(names.user(0).unwrap().as_deref(), Some("root"));
        assert_eq!(names.group(0).unwrap().as_deref(), Some("root"));
        assert_eq!(names.user(3_999_999_999).unwrap(), None);
    }

    #[test]
    fn a_name_is_looked_up_once_a_minute() {
        let names = Names::default();
        let number = Number::User(7);
        assert_eq!(names.find(number, || Ok(Some("seven".to_owned()))).unwrap().as_deref(), Some("seven"));
        assert_eq!(names.find(number, || panic!("looked up again")).unwrap().as_deref(), Some("seven"));
    }

    #[test]
    fn a_database_that_fails_leaves_the_last_name_standing() {
        let names = Names::default();
        let number = Number::Group(7);
        let before = Instant::now().checked_sub(LIFETIME).unwrap();
        names.known.lock().unwrap().insert(number, (Some("seven".to_owned()), before));
        assert_eq!(names.find(number, || Err(Errno::EIO)).unwrap().as_deref(), Some("seven"));
    }

    #[test]
    fn a_database_that_fails_at_first_makes_nobody_nameless() {
        let names = Names::default();
        let number = Number::User(7);
        assert!(names.find(number, || Err(Errno::EIO)).is_err());
        let found = names.find(number, || Ok(Some("seven".to_owned())));
        assert_eq!(found.unwrap().as_deref(), Some("seven"), "the failure was remembered");
        assert_eq!(names.find(Number::User(8), || Err(Errno::ENOENT)).unwrap(), None);
    }
}
