//! Attestation results of the real server, verified by the offline tool: never better than the machine is.

use holdfast_tests::Output;
use serde_json::Value;

use crate::world::World;

#[test]
fn a_result_is_recorded_signed_verified_offline_and_turns_when_the_node_is_banned() {
    let world = World::enrolled(1);
    let key = world.work.path().join("ear.pem");
    std::fs::write(&key, world.server.operator(&["ear", "key"]).unwrap()).unwrap();
    let node = world.node_id(0);
    let issue = |format: &str| {
        let file = world.work.path().join(format!("result.{format}"));
        let nonce = "00112233445566ff";
        let words = ["ear", "issue", "--node", &node, "--format", format, "--nonce", nonce, "--out"];
        let issued = world.server.json(&[&words[..], &[file.to_str().unwrap()]].concat()).unwrap();
        (file, issued)
    };
    let show = |file: &std::path::Path, more: &[&str]| {
        let mut command = world.programs.command("holdfast-policy");
        command.args(["ear", "show"]).arg(file).args(["--output", "json", "--nonce", "00112233445566ff"]).args(more);
        Output::of(&mut command).unwrap()
    };
    let key = key.to_str().unwrap();
    for format in ["cwt", "jwt"] {
        let (file, issued) = issue(format);
        let shown = show(&file, &["--key", key]);
        // Simulated machines are never affirmed: that is no yes.
        assert_eq!(shown.code, 1, "{shown:?}");
        let shown: Value = shown.json().unwrap();
        assert_eq!((shown["signature"].as_str(), shown["nonce"].as_str()), (Some("verified"), Some("matches")));
        assert_eq!(shown["in_force"], true);
        let claims = &shown["claims"];
        assert_eq!(claims["sub"], node.as_str());
        assert_eq!((claims["ear_status"].as_str(), issued["status"].as_str()), (Some("warning"), Some("warning")));
        assert_eq!(claims["submods"]["tpm"]["ear_trustworthiness_vector"]["hardware"], -33, "{claims:#}");
        let act = world.server.operator(&["events", "export", "--type", "dev.holdfast.act.ear.issue.v1"]).unwrap();
        let last: Value = serde_json::from_str(act.lines().last().unwrap()).unwrap();
        assert_eq!(last["data"]["index"], issued["record_index"]);
        assert_eq!(last["data"]["act"]["detail"]["format"], format);
    }
    let (file, _) = issue("cwt");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    let forged = world.work.path().join("forged.cwt");
    std::fs::write(&forged, bytes).unwrap();
    assert_eq!(show(&forged, &["--key", key]).code, 1);
    assert_eq!(show(&file, &["--key", key, "--at", "2040-01-01T00:00:00Z"]).code, 1);

    world.server.operator(&["node", "ban", &node, "--reason", "stolen"]).unwrap();
    let (file, issued) = issue("jwt");
    assert_eq!(issued["status"], "contraindicated");
    let shown: Value = show(&file, &["--key", key]).json().unwrap();
    assert_eq!(shown["claims"]["submods"]["tpm"]["ear_trustworthiness_vector"]["instance-identity"], 96);
    let short = world.server.cli(&["ear", "issue", "--node", &node, "--nonce", "0011"]).unwrap();
    assert!(short.code != 0 && short.stderr.contains("(ear.nonce)"), "{short:?}");
    world.server.operator(&["audit", "verify"]).unwrap();
}
