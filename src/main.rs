//! The binary: hands over to [`ringback::cli`].

fn main() -> std::process::ExitCode {
    ringback::cli::main()
}
