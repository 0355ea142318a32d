//! The one header that every request must carry (SPIFFE Workload Endpoint, section 3), against forged requests.

use tonic::{Request, Status};

use super::refusal::Refusal;

const NAME: &str = "workload.spiffe.io";
const VALUE: &[u8] = b"true";

/// Lets a request pass that carries the header exactly once with exactly its value.
pub(super) fn check(request: Request<()>) -> Result<Request<()>, Status> {
    let mut values = request.metadata().get_all(NAME).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes() == VALUE => Ok(request),
        _ => Err(Refusal::NoSecurityHeader.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(values: &[&str]) -> bool {
        let mut request = Request::new(());
        for value in values {
            request.metadata_mut().append(NAME, value.parse().unwrap());
        }
        match check(request) {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::InvalidArgument);
                assert_eq!(status.message(), "security header missing from request");
                false
            }
        }
    }

    #[test]
    fn exactly_one_true_passes() {
        assert!(passes(&["true"]));
        for refused in [&[][..], &["True"], &["false"], &["true "], &["true,true"], &["true", "true"], &["true", "x"]] {
            assert!(!passes(refused), "{refused:?}");
        }
    }
}
