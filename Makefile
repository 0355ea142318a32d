# One line a target: what it does is in the script it calls. `.ci/run` says which of them CI runs.
.PHONY: demo test tutorial outside little-room bench lint fuzz proto packages conformance
demo:     ; @tests/lanes/demo.sh $(KIND)
test:     ; @tests/lanes/test.sh
tutorial: ; @tests/lanes/tutorial.sh
outside:  ; @tests/lanes/outside.sh
little-room: ; @tests/lanes/little_room.sh
bench:    ; @tests/lanes/bench.sh $(ONLY)
lint:     ; @tests/lanes/lint.sh
fuzz:     ; @tests/lanes/fuzz.sh $(SECONDS_EACH)
proto:    ; @HOLDFAST_REGENERATE=1 cargo test --quiet --workspace --test generated
conformance: ; @tests/lanes/conformance.sh
packages: ; @tests/lanes/packages.sh
