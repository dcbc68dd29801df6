//! Looks for codes in another process's memory, as a debugger or a dump of it would show them.

use std::{
    collections::HashSet,
    fs::{self, File},
    os::unix::fs::FileExt,
};

/// Those of the codes that stand anywhere in its writable memory.
pub fn codes_in_memory(pid: u32, codes: &HashSet<[u8; 8]>) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("Linux");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("a process of ours");
    let mut found = HashSet::new();
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut octets = vec![0; (to - from) as usize];
        // What can't be read (the kernel's own pages, a stack that has shrunk) holds nothing of ours.
        if memory.read_exact_at(&mut octets, from).is_ok() {
            let windows = octets.windows(8).filter(|w| w[0].is_ascii_digit());
            let windows = windows.filter_map(|w| <[u8; 8]>::try_from(w).ok());
            found.extend(windows.filter(|w| codes.contains(w)));
        }
    }
    found.len()
}

/// Eight digits that nobody writes by chance.
pub fn code(n: usize) -> [u8; 8] {
    let number = 10_000_000 + (n as u64 + 1).wrapping_mul(2_654_435_761) % 89_999_999;
    number.to_string().into_bytes().try_into().unwrap()
}
