//! The waivers and change windows of a policy, for whoever must list them whether or not a machine takes one. Whether one
//! counts for a machine is asked in `decision`.

use holdfast_identity::UnixTime;

use super::Policy;
use super::waiver::Waiver;

/// A waiver or change window, as its policy states it.
#[derive(Clone, Copy, Debug)]
pub struct Exemption<'p> {
    waiver: &'p Waiver,
}

impl Policy {
    /// Its waivers and change windows, in the order of the file, past and announced ones too.
    pub fn exemptions(&self) -> impl Iterator<Item = Exemption<'_>> {
        self.waivers.iter().map(|waiver| Exemption { waiver })
    }
}

impl<'p> Exemption<'p> {
    /// `waiver` or `change-window`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.waiver.kind.as_str()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'p str {
        &self.waiver.name
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> &'p str {
        &self.waiver.owner
    }

    /// Why it is there.
    #[must_use]
    pub fn reason(&self) -> &'p str {
        &self.waiver.reason
    }

    /// First second at which it counts, where it has one.
    #[must_use]
    pub const fn valid_from(&self) -> Option<UnixTime> {
        self.waiver.valid_from
    }

    /// First second at which it does not count any more.
    #[must_use]
    pub const fn valid_until(&self) -> UnixTime {
        self.waiver.valid_until
    }

    /// What may differ: facts, or one operator of a fact, as the policy writes them.
    pub fn facts(&self) -> impl Iterator<Item = String> + 'p {
        self.waiver.facts.iter().map(ToString::to_string)
    }

    /// The machines that it names; none where conditions choose them.
    #[must_use]
    pub fn nodes(&self) -> &'p [String] {
        &self.waiver.nodes
    }
}

#[cfg(test)]
mod tests {
    use crate::document::Document;
    use crate::policy::Policy;

    #[test]
    fn waivers_and_windows_are_listed_whoever_takes_them() {
        let text = r#"
api_version = "holdfast/1"
kind = "policy"
name = "rack"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
[[rule]]
name = "ours"
ownership = "inventory"
trust_classes = ["discrete"]
[rule.require]
tpm.secure_boot.enabled = true
tpm.firmware_version = { at_least = "2.0.0.0" }
[[waiver]]
name = "old-bios"
reason = "no update before spring"
owner = "jane"
valid_until = 2027-04-01T00:00:00Z
node = "/holdfast/node/tpm/7"
rule = "ours"
facts = ["tpm.firmware_version"]
[[change_window]]
name = "bios-rollout"
reason = "announced"
owner = "ops"
valid_from = 2027-01-01T00:00:00Z
valid_until = 2027-01-08T00:00:00Z
nodes = ["/holdfast/node/tpm/7", "/holdfast/node/tpm/8"]
facts = ["tpm.firmware_version"]
"#;
        let policy = Policy::parse(Document { name: "rack.toml", text }, &[]).unwrap();
        let listed: Vec<_> = policy
            .exemptions()
            .map(|one| {
                (one.kind(), one.name(), one.owner(), one.reason(), one.valid_from().is_some(), one.nodes().len())
            })
            .collect();
        assert_eq!(
            listed,
            [
                ("waiver", "old-bios", "jane", "no update before spring", false, 1),
                ("change-window", "bios-rollout", "ops", "announced", true, 2)
            ]
        );
        assert!(policy.exemptions().all(|one| one.facts().count() == 1 && one.valid_until().seconds() > 1_798_000_000));
    }
}
