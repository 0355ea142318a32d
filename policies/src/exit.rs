//! How the program ends. The same four words for every Holdfast program.

use std::process::{ExitCode, Termination};

/// The program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: yes, verified, without findings.
    Yes,
    /// 1: refused, or findings.
    Refused,
    /// 2: usage, or a file that cannot be read.
    Usage,
    /// 3: not everything was asked.
    Incomplete,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
