//! Lines that a peer can cause at will: the first is written at once, those that follow within a minute are counted
//! and written as one line when it is over. Metrics count each; this only keeps the log readable.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);

type Write<K> = dyn Fn(&K, u64) + Send + Sync;

/// Counts by key. Keys must be few: carriers' names, reasons, listeners, never something that a peer chooses.
pub struct Minutely<K> {
    counts: Arc<Mutex<HashMap<K, u64>>>,
    write: Arc<Write<K>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Minutely<K> {
    /// `write` writes the line, with how often it happened since the last one.
    pub fn new(write: impl Fn(&K, u64) + Send + Sync + 'static) -> Minutely<K> {
        Minutely {
            counts: Arc::default(),
            write: Arc::new(write),
        }
    }

    /// It has happened once more. Must be called on the runtime.
    pub fn note(&self, key: K) {
        {
            let mut counts = lock(&self.counts);
            if let Some(count) = counts.get_mut(&key) {
                *count += 1;
                return;
            }
            counts.insert(key.clone(), 0);
        }
        (self.write)(&key, 1);
        let (counts, write) = (self.counts.clone(), self.write.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(MINUTE).await;
                let since = {
                    let mut counts = lock(&counts);
                    let since = counts.get_mut(&key).map(std::mem::take).unwrap_or_default();
                    if since == 0 {
                        counts.remove(&key);
                        return;
                    }
                    since
                };
                write(&key, since);
            }
        });
    }
}

/// Nothing panics while it is held.
fn lock<K>(counts: &Mutex<HashMap<K, u64>>) -> std::sync::MutexGuard<'_, HashMap<K, u64>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_written_and_the_rest_once_a_minute() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = lines.clone();
        let minutely = Minutely::new(move |key: &&str, count| {
            written.lock().unwrap().push((*key, count));
        });
        for _ in 0..100 {
            minutely.note("wrong");
        }
        minutely.note("missing");
        assert_eq!(*lines.lock().unwrap(), [("wrong", 1), ("missing", 1)]);
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        minutely.note("wrong");
        assert_eq!(lines.lock().unwrap()[2..], [("wrong", 99)]);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(lines.lock().unwrap()[3..], [("wrong", 1)]);
        // A quiet minute, and it begins anew.
        tokio::time::sleep(MINUTE).await;
        minutely.note("wrong");
        assert_eq!(lines.lock().unwrap()[4..], [("wrong", 1)]);
    }
}
