//! The gateway's AMQP side against a real RabbitMQ.
//!
//! Uses the broker that `RINGBACK_TEST_AMQP` names, with what `rabbitmqctl` needs in the environment; without it one is
//! started by `scripts/rabbit` and stopped at the end. A vhost per test. The tests run one after the other, because
//! some stop the broker or make it run out of memory; an argument picks those whose name holds it.

use std::{panic::AssertUnwindSafe, process::ExitCode};

mod door;
mod gateway;
mod octets;
mod process;
mod rabbit;
mod raw;
mod reports;
mod simulate;
mod trouble;
mod world;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    if std::env::args().any(|a| a == "--ignored") {
        // None is switched off.
        return ExitCode::SUCCESS;
    }
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-') && a != "terse")
        .collect();
    let tests: Vec<Test> = [
        door::TESTS,
        octets::TESTS,
        process::TESTS,
        reports::TESTS,
        simulate::TESTS,
        trouble::TESTS,
    ]
    .concat()
    .into_iter()
    .filter(|(name, _)| asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str())))
    .collect();
    if std::env::args().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let broker = rabbit::Broker::find();
    let mut failed = Vec::new();
    for (name, test) in &tests {
        let good = std::panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        if !good {
            failed.push(*name);
        }
    }
    drop(broker);
    println!(
        "test result: {}. {} passed; {} failed; {failed:?}",
        if failed.is_empty() { "ok" } else { "FAILED" },
        tests.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
