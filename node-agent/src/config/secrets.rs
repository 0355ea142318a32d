//! The table `sds`: what Envoy calls its secrets.

use super::flag;
use super::reader::Reader;
use crate::workload_api::Names;

/// As the whole configuration: every key before the first `?`.
pub(super) fn read(reader: &mut Reader) -> Option<Names> {
    let svid = reader.required("sds.default_svid_name", name);
    let bundle = reader.required("sds.default_bundle_name", name);
    let all = reader.required("sds.default_all_bundles_name", name);
    let disabled = reader.required("sds.disable_spiffe_cert_validation", flag);
    let names = Names {
        default_svid_name: svid?,
        default_bundle_name: bundle?,
        default_all_bundles_name: all?,
        disable_spiffe_cert_validation: disabled?,
    };
    let three = [&names.default_svid_name, &names.default_bundle_name, &names.default_all_bundles_name];
    let twice = |name: &&String| !name.is_empty() && three.iter().filter(|other| *other == name).count() > 1;
    if three.iter().any(twice) {
        return reader.problem("sds.default_svid_name", "must differ from the other names of this table");
    }
    Some(names)
}

/// Nothing is a name that nobody asks for.
fn name(text: &str) -> Result<String, String> {
    if text.starts_with("spiffe://") {
        return Err(format!("must not be a SPIFFE ID, found {text:?}"));
    }
    Ok(text.to_owned())
}
