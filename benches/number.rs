//! What a number costs: clean E.164 through the table, and other writings through the library.
//! `cargo bench --bench number`. Figures drift with the machine; the ratio of the two is what to watch.

use std::hint::black_box;

use ringback::number::analyse;

fn main() {
    divan::main();
}

const CLEAN: [&str; 12] = [
    "+12025550123",
    "+14165550123",
    "+18762101234",
    "+46701234567",
    "+447400123456",
    "+4915123456789",
    "+33612345678",
    "+390669812345",
    "+5511961234567",
    "+918123456789",
    "+8613123456789",
    "+2250123456789",
];

const NATIONAL: [(&str, &str); 4] = [
    ("(202) 555-0123", "US"),
    ("070-123 45 67", "SE"),
    ("07400 123456", "GB"),
    ("0151 23456789", "DE"),
];

/// Twelve numbers a round.
#[divan::bench(sample_size = 1000)]
fn twelve_clean_e164(bencher: divan::Bencher) {
    for number in CLEAN {
        analyse(number, None);
    }
    bencher.bench_local(|| {
        for number in CLEAN {
            black_box(analyse(black_box(number), None));
        }
    });
}

/// Four numbers a round.
#[divan::bench(sample_size = 100)]
fn four_national(bencher: divan::Bencher) {
    for (number, region) in NATIONAL {
        analyse(number, Some(region));
    }
    bencher.bench_local(|| {
        for (number, region) in NATIONAL {
            black_box(analyse(black_box(number), Some(region)));
        }
    });
}
