//! The binary: hands over to [`ringback::cli`].

#[global_allocator]
static ALLOCATOR: ringback::scrub::Scrub = ringback::scrub::Scrub;

fn main() -> std::process::ExitCode {
    ringback::cli::main()
}
