# The verbs. `just check` is what continuous integration runs.

check:
    scripts/test

demo:
    scripts/demo

fmt:
    cargo fmt

bench:
    cargo bench --bench pipeline

# Accept the output of `portero check` as it now is.
bless:
    PORTERO_BLESS=1 cargo test --test integration check
