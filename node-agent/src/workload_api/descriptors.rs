//! How many connections the system lets this process hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of one connection: its socket, and the process at the other end.
const EACH: u64 = 2;
/// Descriptors that everything else in the agent may need: TPM, server, files, its own sockets.
const RESERVED: u64 = 128;

/// Raises the limit of descriptors for `connections`, as far as the system allows; how many connections fit then.
pub(super) fn allow(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(EACH).saturating_add(RESERVED);
    let limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < raised) {
        let limit = Rlimit { current: Some(raised), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "limit of descriptors not raised");
        }
    }
    let fit = fitting(getrlimit(Resource::Nofile).current, connections);
    if fit < connections {
        tracing::warn!(connections = fit, wanted = connections, "descriptors limit the workload connections");
    }
    fit
}

fn fitting(descriptors: Option<u64>, connections: usize) -> usize {
    let fit = descriptors.map_or(u64::MAX, |descriptors| descriptors.saturating_sub(RESERVED) / EACH);
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, connections.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_not_reserved_is_for_connections() {
        assert_eq!(fitting(Some(1024), 8192), 448);
        assert_eq!(fitting(Some(1 << 20), 8192), 8192);
        assert_eq!(fitting(None, 8192), 8192);
        assert_eq!(fitting(Some(10), 8192), 1);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let fit = allow(600);
        let limit = getrlimit(Resource::Nofile);
        assert!(fit == 600 || limit.current == limit.maximum, "{limit:?}");
    }
}
