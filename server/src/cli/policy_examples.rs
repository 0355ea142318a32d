//! What each `policy` command's help ends with: lines that can be typed, and what the exit codes say.

pub(super) const APPLY: &str = "\
Examples:
  holdfast-server policy apply rack.toml --mode observe --message 'kernel 6.1.0-41'
  holdfast-server policy apply rack.toml --message 'two machines go' --accept-refusals 2
  holdfast-server policy apply rack.toml --signature rack.sig --output json

Whether a version decides or is observed is no part of the file: --mode says it, and `policy promote` changes it.
Exit codes: 0 done, or proposed where two persons are demanded; 1 refused (findings, too many refusals, no signature), and
nothing has changed; 2 usage or I/O.";

pub(super) const LIST: &str = "\
Examples:
  holdfast-server policy list
  holdfast-server policy list --output json | jq '.policies[] | select(.mode == \"enforce\")'

Exit codes: 0 listed, 1 refused, 2 usage or I/O.";

pub(super) const SHOW: &str = "\
Examples:
  holdfast-server policy show                 the version that decides about whoever no scope names
  holdfast-server policy show observe
  holdfast-server policy show 7 --output json

Exit codes: 0 shown, 1 no such version, 2 usage or I/O.";

pub(super) const DIGEST: &str = "\
Examples:
  holdfast-server policy digest rack.toml | openssl pkeyutl -sign -inkey author.pem -rawin -in /dev/stdin -out rack.sig
  holdfast-server policy digest rack.toml --output json

The mode is not part of it: one signature serves `policy apply --mode observe` and `--mode enforce`.
Exit codes: 0 printed, 2 not a policy, usage or I/O.";

pub(super) const PROMOTE: &str = "\
Examples:
  holdfast-server policy promote observe --selector tpm:manufacturer:id:49465800
  holdfast-server policy promote observe --message 'a week without a finding'
  holdfast-server policy promote 87c1a2 --accept-refusals 3

`node show` lists what is fixed of a node: by these selectors, and by no others, a version is promoted for some.
Exit codes: 0 done, or proposed where two persons are demanded; 1 refused, and nothing has changed; 2 usage or I/O.";

pub(super) const ROLLBACK: &str = "\
Examples:
  holdfast-server policy rollback --message 'rack 7 does not boot it'
  holdfast-server policy rollback --selector tpm:manufacturer:id:49465800
  holdfast-server policy rollback --to 4 --accept-refusals 1

Without --to and --selector the state just before comes back at once, by one person and whomever it refuses. Everything
else is a change like a promotion, and so is a second rollback in a row.
Exit codes: 0 done, or proposed where two persons are demanded; 1 refused, and nothing has changed; 2 usage or I/O.";

pub(super) const HISTORY: &str = "\
Examples:
  holdfast-server policy history
  holdfast-server policy history --limit 100 --output json

Exit codes: 0 listed, 1 refused, 2 usage or I/O.";

pub(super) const PROPOSALS: &str = "\
Examples:
  holdfast-server policy proposals
  holdfast-server policy proposals --output json | jq '.proposals[] | select(.state == \"open\")'

Exit codes: 0 listed, 1 refused, 2 usage or I/O.";

pub(super) const APPROVE: &str = "\
Examples:
  holdfast-server policy proposals && holdfast-server policy approve 3

Whom it refuses is counted again, as the fleet is now.
Exit codes: 0 done; 1 refused (your own proposal, closed, expired, too many refusals); 2 usage or I/O.";

pub(super) const WITHDRAW: &str = "\
Examples:
  holdfast-server policy withdraw 3

Exit codes: 0 closed, 1 refused (no such proposal, or closed already), 2 usage or I/O.";
