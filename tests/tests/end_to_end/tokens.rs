//! JWT-SVIDs from the real server through the real agent, and the life of the keys that sign them.

use holdfast_tests::{Output, until};
use serde_json::Value;

use crate::world::{PATIENCE, World, entry_id, id, own_uid};

const AUDIENCE: &str = "https://db.example.org";

/// An agent's command, as a workload calls it.
fn api(world: &World, words: &[&str]) -> Output {
    let mut command = world.programs.command("holdfast-agent");
    command.arg("api").args(words).args(["--output", "json", "--socket-path"]).arg(world.agents[0].socket());
    Output::of(&mut command).unwrap()
}

fn fetch(world: &World) -> Option<(String, Value)> {
    let fetched = api(world, &["fetch", "jwt", "--audience", AUDIENCE]);
    (fetched.code == 0).then(|| {
        let answer: Value = fetched.json().unwrap();
        (answer["svids"][0]["svid"].as_str().unwrap().to_owned(), answer)
    })
}

/// A token, once the predicate likes it.
fn token_until(world: &World, what: &str, is_liked: impl Fn(&str) -> bool) -> String {
    let token = until(what, PATIENCE, || fetch(world).map(|(token, _)| token).filter(|token| is_liked(token)));
    token.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()))
}

/// A part of a token as the command of the agent prints it: read from the token itself.
fn part(token: &str, place: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn authorities(world: &World) -> Vec<(String, String)> {
    let shown = world.server.json(&["authority", "jwt", "show"]).unwrap();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let all = shown["authorities"].as_array().unwrap();
    all.iter().map(|one| (text(one, "authority_id"), text(one, "stage"))).collect()
}

fn command(world: &World, act: &str, id: &str) {
    world.server.operator(&["authority", "jwt", act, "--authority-id", id]).unwrap();
}

fn is_valid(world: &World, audience: &str, token: &str) -> bool {
    let checked = api(world, &["validate", "jwt", "--audience", audience, "--svid", token]);
    assert!(checked.code < 2, "{checked:?}");
    checked.code == 0
}

/// Rows 35, 36, 38, 67 and 69 through the real programs, too.
#[test]
fn a_token_is_signed_recorded_validated_and_ends_with_its_key() {
    let mut world = World::enrolled(1);
    let (web, node, user) = (id("web"), world.node_id(0), own_uid());
    let words =
        ["entry", "create", "--spiffe-id", &web, "--parent-id", &node, "--selector", &user, "--jwt-svid-ttl", "90s"];
    let entry = entry_id(&world.server.json(&words).unwrap());
    let first = token_until(&world, "a token", |_| true);
    let claims = part(&first, 1);
    assert_eq!((&claims["sub"], &claims["aud"]), (&web.clone().into(), &vec![AUDIENCE].into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 90, "the entry's own lifetime");
    assert!(is_valid(&world, AUDIENCE, &first));
    assert!(!is_valid(&world, "https://other.example.org", &first));
    assert_eq!(fetch(&world).unwrap().0, first, "the agent keeps it");
    assert_eq!(api(&world, &["fetch", "jwt", "--audience", "a", "--spiffe-id", &id("other")]).code, 1);
    let short = api(&world, &["fetch", "jwt", "--audience", ""]);
    assert!(short.code == 2 && short.stderr.contains("InvalidArgument"), "{short:?}");

    // The bundle that others read has the key by its use, and no certificate's key is one.
    let bundle = |world: &World| -> Value {
        serde_json::from_str(&world.server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap()).unwrap()
    };
    let before = bundle(&world);
    let keys = |bundle: &Value, usage: &str| -> Vec<Value> {
        bundle["keys"].as_array().unwrap().iter().filter(|key| key["use"] == usage).cloned().collect()
    };
    assert_eq!(keys(&before, "jwt-svid")[0]["kid"], kid(&first).as_str());
    assert!(keys(&before, "jwt-svid").iter().all(|key| key.get("x5c").is_none()));
    assert!(keys(&before, "x509-svid").iter().all(|key| key.get("kid").is_none() && key.get("x5c").is_some()));

    // The next key signs after a command, and the old one's token still counts.
    world.server.operator(&["authority", "jwt", "prepare"]).unwrap();
    let refused = world.server.cli(&["authority", "jwt", "prepare"]).unwrap();
    assert!(refused.code != 0 && refused.stderr.contains("authority.life.already_prepared"), "{refused:?}");
    let next = authorities(&world).into_iter().find(|(_, stage)| stage == "prepared").unwrap().0;
    assert_eq!(keys(&bundle(&world), "jwt-svid").len(), 2);
    assert!(bundle(&world)["spiffe_sequence"].as_u64() > before["spiffe_sequence"].as_u64());
    let early = world.server.cli(&["authority", "jwt", "taint", "--authority-id", &kid(&first)]).unwrap();
    assert!(early.code != 0 && early.stderr.contains("authority.life.stage"), "only an old one is tainted: {early:?}");
    command(&world, "activate", &next);
    assert!(is_valid(&world, AUDIENCE, &first));

    // Tainted: the agent lets go of what it kept, and asks again.
    command(&world, "taint", &kid(&first));
    let second = token_until(&world, "a token by the next key", |token| kid(token) == next);
    assert!(is_valid(&world, AUDIENCE, &first) && is_valid(&world, AUDIENCE, &second));
    // Revoked: what it signed counts no more.
    command(&world, "revoke", &kid(&first));
    until("the revoked key is forgotten", PATIENCE, || (!is_valid(&world, AUDIENCE, &first)).then_some(())).unwrap();
    assert!(is_valid(&world, AUDIENCE, &second));
    assert_eq!(authorities(&world), [(next.clone(), "active".to_owned())]);

    // The key outlives the server's process, in a file of its own.
    let log = world.work.path().join("server.log");
    world.server.daemon().unwrap().kill();
    world.server.start_again(&log).unwrap();
    assert_eq!(authorities(&world), [(next.clone(), "active".to_owned())]);
    let file = world.server.folder().join(format!("state/authority/jwt/{next}.pem"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    // An entry that goes takes its tokens with it.
    world.server.operator(&["entry", "delete", &entry]).unwrap();
    until("no identity", PATIENCE, || {
        let fetched = api(&world, &["fetch", "jwt", "--audience", AUDIENCE]);
        (fetched.code == 1 && fetched.stderr.contains("PermissionDenied")).then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));

    // Every token and every act is in the record.
    let audit = world.server.json(&["audit", "verify"]).unwrap();
    assert!(audit["tokens"].as_u64().is_some_and(|tokens| tokens >= 2), "{audit:#}");
    assert_eq!(audit["findings"].as_array().map(Vec::len), Some(0));
    for act in ["prepare", "activate", "taint", "revoke"] {
        let kind = format!("dev.holdfast.act.jwt_authority.{act}.v1");
        let events = world.server.operator(&["events", "export", "--type", &kind]).unwrap();
        assert!(events.lines().count() >= 1, "{act}");
    }
}
