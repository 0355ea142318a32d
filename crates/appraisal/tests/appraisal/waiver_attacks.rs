//! Waivers as somebody would write them who wants more than they name.

use holdfast_appraisal::decision::Verdict;
use holdfast_appraisal::decision::explanation::Explanation;
use holdfast_appraisal::finding::{Finding, Severity};
use holdfast_appraisal::{Appraiser, Document, Facts, Policy};
use holdfast_identity::UnixTime;

use crate::machine::{NOW, codes, hex, judge, listed, machine, policy_text, set, unexplained, with};

const REFUSED: &str = "policy.no_rule_matched";

/// A waiver of rule `rack` for the machine, until then, of these facts.
fn waiver(name: &str, day: u32, facts: &str, more: &str) -> String {
    format!(
        "[[waiver]]\nname = {name:?}\nreason = \"x\"\nowner = \"jane\"\nvalid_until = 2026-06-{day:02}T00:00:00Z\n\
         node = {:?}\nrule = \"rack\"\nfacts = [{facts}]\n{more}\n",
        hex(0xe1)
    )
}

fn parse(rule: &str) -> Result<Policy, Vec<Finding>> {
    let digests = Document { name: "d.digests", text: &format!("{}  /bin/true\n", hex(0x51)) };
    Policy::parse(Document { name: "p.toml", text: &policy_text(rule) }, &[digests])
}

fn decided(rule: &str, facts: &Facts) -> &'static str {
    codes(&judge(&parse(rule).unwrap_or_else(|findings| panic!("{findings:#?}")), facts, &listed())).0
}

fn errors(rule: &str) -> Vec<&'static str> {
    let findings = parse(rule).err().unwrap_or_default();
    findings.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.code).collect()
}

const LINES: &str = "[rule.require]\ntpm.secure_boot.enabled = true\n\
    tpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro\"] }\n";

fn debugging() -> Facts {
    with("tpm.boot.command_lines", &["debug"])
}

/// All codes of an explanation's rule.
fn told(explanation: &Explanation) -> Vec<String> {
    let rule = &explanation.rules[0];
    let alternatives = rule.alternatives.iter();
    let checks = rule.checks.iter().chain(alternatives.flat_map(|one| &one.checks));
    checks.filter_map(|check| check.code.as_ref()).map(ToString::to_string).collect()
}

#[test]
fn what_no_waiver_is_about_is_asked_wherever_a_rule_is() {
    let alternative = |more: &str| format!("{LINES}[[rule.alternative]]\nname = \"one\"\n{more}\n");
    let cel = "cel = ['facts[\"tpm.secure_boot.enabled\"] == false']\n";
    let cases = [
        ("policy.site.differs", format!("{cel}{LINES}"), machine()),
        ("policy.site.differs", alternative(&format!("{cel}require.tpm.secure_boot.enabled = true")), machine()),
        ("policy.ima.absent", format!("{LINES}[rule.ima]\ndigests = \"d.digests\"\n"), machine()),
        ("policy.pcr.unexplained", LINES.to_owned(), unexplained(9)),
        ("policy.pcr.unexplained", alternative("require.tpm.secure_boot.enabled = true"), unexplained(9)),
    ];
    let waiver = waiver("debug", 10, "\"tpm.boot.command_lines\"", "");
    for (code, rule, mut facts) in cases {
        let fits = if code.starts_with("policy.site") { rule.replace("== false", "== true") } else { rule.clone() };
        if code.starts_with("policy.site") {
            let mut debug = facts.clone();
            set(&mut debug, "tpm.boot.command_lines", &["debug".to_owned()]);
            assert_eq!(decided(&format!("{fits}{waiver}"), &debug), "admitted", "the waiver is no dead letter");
        }
        for debug in [false, true] {
            if debug {
                set(&mut facts, "tpm.boot.command_lines", &["debug".to_owned()]);
            }
            let policy = parse(&format!("{rule}{waiver}")).unwrap();
            let verdict = judge(&policy, &facts, &listed());
            let (decision, because) = codes(&verdict);
            assert_eq!(decision, REFUSED, "{code}");
            assert_eq!(because, [code], "what is told differs from what is asked: {rule}");
            let explanation = Appraiser::explain(&policy, &facts, &listed(), NOW, &verdict);
            assert_eq!(told(&explanation), [code], "{explanation}");
        }
    }
}

#[test]
fn of_two_waivers_of_one_register_the_one_that_gives_its_value_counts_and_ends_the_identity() {
    let rule = format!("[rule.require]\ntpm.secure_boot.enabled = true\ntpm.pcr.9 = {:?}\n", hex(9));
    let bare = waiver("bare", 20, "\"tpm.pcr.9\"", "");
    let gives = waiver("gives", 1, "\"tpm.pcr.9\"", &format!("instead.tpm.pcr.9 = {:?}", hex(0x99)))
        .replace("2026-06-01T00", "2026-06-01T01");
    for both in [format!("{bare}{gives}"), format!("{gives}{bare}")] {
        let verdict = judge(&parse(&format!("{rule}{both}")).unwrap(), &unexplained(9), &listed());
        let Verdict::Admit(grant) = verdict else { panic!("{verdict:#?}") };
        assert_eq!(grant.waivers.iter().map(|used| used.name.as_str()).collect::<Vec<_>>(), ["gives"]);
        assert_eq!(grant.evidence_expires, UnixTime(NOW.seconds() + 3_600));
    }
    let other = gives.replace(&hex(0x99), &hex(0x98));
    assert_eq!(decided(&format!("{rule}{bare}{other}"), &unexplained(9)), REFUSED);
    let of_another =
        waiver("other", 20, "\"tpm.pcr.9\", \"tpm.pcr.14\"", &format!("instead.tpm.pcr.14 = {:?}", hex(0x14)));
    let mut facts = unexplained(9);
    set(&mut facts, "tpm.pcr.14", &[hex(0x14)]);
    let rule = format!("{rule}tpm.pcr.14 = {:?}\n", hex(0x14));
    assert_eq!(decided(&format!("{rule}{of_another}"), &facts), REFUSED, "the value of one explains no other");
}

#[test]
fn a_denial_in_place_of_what_is_waived_is_no_remainder() {
    let all = "\"tpm.boot.command_lines\", \"tpm.secure_boot.enabled\"";
    let with = |instead: &str| errors(&format!("{LINES}{}", waiver("one", 10, all, instead)));
    assert_eq!(with(""), ["policy.lint.waiver_of_everything"]);
    for denial in ["none_of = [\"single\"]", "none_matches = \"single\""] {
        let instead = format!("instead.tpm.boot.command_lines = {{ {denial} }}");
        assert_eq!(with(&instead), ["policy.lint.waiver_of_everything"], "{denial}");
    }
    assert_eq!(with("instead.tpm.boot.command_lines = { exactly = [\"debug\"] }"), [""; 0]);
}

#[test]
fn waivers_that_together_leave_nothing_are_an_error() {
    let (lines, boot) = ("\"tpm.boot.command_lines\"", "\"tpm.secure_boot.enabled\"");
    let second = waiver("two", 10, boot, "");
    let both = format!("{LINES}{}{second}", waiver("one", 10, lines, ""));
    assert!(errors(&both).contains(&"policy.lint.waiver_of_everything"));
    let by_path = second.replace(&hex(0xe1), &format!("/holdfast/node/tpm/{}", hex(0xe1)));
    let mixed = format!("{LINES}{}{by_path}", waiver("one", 10, lines, ""));
    assert!(errors(&mixed).contains(&"policy.lint.waiver_of_everything"), "one machine by path and by name");
    let by_condition = second.replace(&format!("node = {:?}", hex(0xe1)), "when.tpm.secure_boot.enabled = false");
    let mixed = format!("{LINES}{}{by_condition}", waiver("one", 10, lines, ""));
    assert!(errors(&mixed).contains(&"policy.lint.waiver_of_everything"), "conditions may meet any machine");
    for apart in [
        second.replace(&hex(0xe1), &hex(0xe2)),
        second
            .replace("valid_until", "valid_from = 2026-06-10T00:00:00Z\nvalid_until")
            .replace("-10T00:00:00Z\nnode", "-11T00:00:00Z\nnode"),
        format!("{second}instead.tpm.secure_boot.enabled = false\n"),
    ] {
        let text = format!("{LINES}{}{apart}", waiver("one", 10, lines, ""));
        assert_eq!(errors(&text), [] as [&str; 0], "{text}");
    }
}

#[test]
fn whose_word_is_believed_is_not_waived_but_for_another_that_is_named() {
    let guest = |require: &str, waived: &str, instead: &str| {
        format!(
            "evidence = [\"snp\"]\n[rule.issue]\nnode_id = \"/holdfast/node/snp/{{snp.report_id}}\"\n\
             [rule.require]\nsnp.policy.debug = false\n{require}\n{}",
            waiver("word", 10, &format!("{waived:?}"), instead)
        )
    };
    let key = format!("snp.guest_svn = {{ at_least = 2 }}\nsnp.id_key_digest = {:?}", "4a".repeat(48));
    let forbidden = "policy.lint.waiver_forbidden";
    assert_eq!(errors(&guest(&key, "snp.id_key_digest", "")), [forbidden]);
    let other = format!("instead.snp.id_key_digest = {:?}", "4b".repeat(48));
    assert_eq!(errors(&guest(&key, "snp.id_key_digest", &other)), [] as [&str; 0]);
    let none_of = format!("instead.snp.id_key_digest = {{ none_of = [{:?}] }}", "4b".repeat(48));
    assert_eq!(errors(&guest(&key, "snp.id_key_digest", &none_of)), [forbidden], "a value is to be given");
    let measured = format!("snp.measurement = {:?}", "4a".repeat(48));
    assert_eq!(errors(&guest(&measured, "snp.measurement", "")), [] as [&str; 0], "of a guest it is what runs");
    let paravisor = guest(&measured, "snp.measurement", "")
        .replace("[\"snp\"]", "[\"azure\"]")
        .replace("snp/{snp.report_id}", "azure/{azure.instance}");
    assert_eq!(errors(&paravisor), [forbidden], "of a paravisor it is whose word all else is");
    let product = "snp.product = \"Milan\"";
    assert_eq!(errors(&guest(product, "snp.product", ""))[0], forbidden);
    assert_eq!(errors(&guest("snp.signing_key = \"vcek\"", "snp.signing_key", ""))[0], forbidden);
}

#[test]
fn conditions_on_evidence_that_did_not_come_choose_no_machine() {
    let when = |condition: &str| {
        let node = format!("node = {:?}", hex(0xe1));
        format!("{LINES}{}", waiver("debug", 10, "\"tpm.boot.command_lines\"", "").replace(&node, condition))
    };
    assert_eq!(decided(&when("when.tpm.secure_boot.enabled = true"), &debugging()), "admitted");
    for foreign in ["when.snp.product = { none_of = [\"Milan\"] }", "when.gcp.project_id = { none_matches = 'x' }"] {
        assert_eq!(decided(&when(foreign), &debugging()), REFUSED, "{foreign}");
    }
    let mut facts = debugging();
    set(&mut facts, "snp.class", &["simulated".to_owned()]);
    set(&mut facts, "snp.product", &["Turin".to_owned()]);
    let rule = when("when.snp.product = { none_of = [\"Milan\"] }");
    assert_eq!(decided(&rule, &facts), REFUSED, "evidence of another class is brought to choose the waiver");
}

#[test]
fn an_alternative_that_does_not_count_is_not_waived_into_counting() {
    let alternatives = "[rule.require]\ntpm.secure_boot.enabled = true\n\
        [[rule.alternative]]\nname = \"next\"\nvalid_from = 2026-06-02T00:00:00Z\n\
        [rule.alternative.require]\ntpm.boot.command_lines = { exactly = [\"next\"] }\n\
        [[rule.alternative]]\nname = \"now\"\n\
        [rule.alternative.require]\ntpm.boot.command_lines = { exactly = [\"now\"] }\n\
        tpm.boot.applications = { sequence = [\"a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9\"] }\n";
    let waived = format!("{alternatives}{}", waiver("debug", 10, "\"tpm.boot.command_lines\"", ""));
    assert_eq!(decided(&waived, &debugging()), REFUSED, "one is not yet valid, of the other two facts differ");
    let mut right = debugging();
    set(&mut right, "tpm.boot.applications", &[hex(0xa9)]);
    let Verdict::Admit(grant) = judge(&parse(&waived).unwrap(), &right, &listed()) else { panic!("refused") };
    assert_eq!(grant.alternative.as_deref(), Some("now"));
}
