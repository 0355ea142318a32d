# Each target is one line here and one script or cargo command behind it.
proto: ; HOLDFAST_REGENERATE=1 cargo test --workspace --test generated
.PHONY: proto
