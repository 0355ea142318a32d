//! What is taken for a configuration, and what is not.

use super::*;

fn problems(more: &str) -> String {
    match Settings::parse(&format!("cert_dir = \"/x\"\n{more}"), None) {
        Ok(settings) => panic!("{settings:?}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn one_key_is_enough() {
    let settings = Settings::parse("cert_dir = \"/x\"", None).unwrap();
    assert!(settings.daemon_mode && settings.swap_directory);
    assert_eq!((settings.modes.key, settings.modes.certificate, settings.modes.token), (0o600, 0o644, 0o600));
    assert_eq!(settings.svid_key_file_name, "svid_key.pem");
}

#[test]
fn a_file_of_spiffe_helper_is_understood_with_its_modes_in_quotes() {
    let text = r#"
agent_address = "/tmp/agent/public/api.sock"
cert_dir = "certs"
renew_signal = "SIGUSR1"
pid_file_name = "/run/x.pid"
svid_file_name = "a.pem"
svid_key_file_name = "b.pem"
svid_bundle_file_name = "c.pem"
jwt_svids = [{jwt_audience="you", jwt_extra_audiences=["them"], jwt_svid_file_name="d.token"}]
jwt_bundle_file_name = "e.json"
cert_file_mode = "0444"
key_file_mode = "0400"
include_federated_domains = true
daemon_mode = false
"#;
    let settings = Settings::parse(text, Some("unix:///other.sock")).unwrap();
    assert_eq!(settings.signal, Some((Signal::USR1, PathBuf::from("/run/x.pid"))));
    assert_eq!(settings.jwt_svids[0].jwt_extra_audiences, ["them"]);
    assert!(settings.include_federated_domains && !settings.daemon_mode);
}

#[test]
fn no_mode_lets_the_world_read_a_key_or_a_token() {
    for key in ["key_file_mode", "jwt_svid_file_mode"] {
        for mode in ["0644", "0604", "0601", "0660", "0700", "0000", "4600", "x", ""] {
            assert!(problems(&format!("{key} = {mode:?}")).contains(key), "{key} {mode}");
        }
        for mode in ["0600", "0640", "0400", "0440", "600", "0o640"] {
            Settings::parse(&format!("cert_dir = \"/x\"\n{key} = {mode:?}"), None).unwrap();
        }
    }
    assert!(problems("cert_file_mode = \"0666\"").contains("cert_file_mode"));
}

#[test]
fn names_stay_within_the_folder_and_apart() {
    for name in ["", "a/b", "../a", "..data", ".", "/a", "svid_key.pem..new"] {
        assert!(problems(&format!("svid_file_name = {name:?}")).contains("svid_file_name"), "{name}");
    }
    assert!(problems("svid_file_name = \"svid_key.pem\"").contains("another file"));
    assert!(problems("jwt_bundle_file_name = \"svid.pem\"").contains("another file"));
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "renew_signal = \"SIGKILL\"\npid_file = \"/x\"\nfile_owner = \"no such user\"\nrenew_command = []\n\
                key_file_mode = \"0777\"\nagent_address = \"tcp://name:1\"";
    let found = problems(text);
    for key in ["renew_signal", "file_owner", "renew_command", "key_file_mode", "agent_address", "5 problem(s)"] {
        assert!(found.contains(key), "{key} in {found}");
    }
    assert!(problems("renew_signal = \"SIGHUP\"").contains("pid_file_name"));
    assert!(problems("pid_file_name = \"/x\"").contains("renew_signal"));
    assert!(problems("cmd = \"x\"").contains("cmd"));
}
