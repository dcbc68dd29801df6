//! The configuration that is shipped: found where the command is run, else written out of the program itself.
//!
//! In the source tree its own files are used, so that whoever edits a route sees the change. Anywhere else (after
//! `cargo install`) the same files come out of the binary.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder that holds `ringback.toml`, `routes/`, `carriers/` and `prompts/`.
#[derive(Clone, Debug)]
pub struct Shipped {
    pub root: PathBuf,
    /// They stand in the current folder and may be edited.
    pub here: bool,
}

impl Shipped {
    /// The current folder if it has all of it; else everything is written into `spare`.
    pub fn find(spare: &Path) -> io::Result<Shipped> {
        let here = std::env::current_dir()?;
        let folders = ["routes", "carriers", "prompts"];
        if here.join("ringback.toml").is_file()
            && folders.iter().all(|folder| here.join(folder).is_dir())
        {
            return Ok(Shipped {
                root: here,
                here: true,
            });
        }
        for (path, bytes) in files() {
            let path = spare.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, bytes)?;
        }
        Ok(Shipped {
            root: spare.to_path_buf(),
            here: false,
        })
    }
}

macro_rules! file {
    ($path:expr) => {
        (
            $path,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)) as &[u8],
        )
    };
}

macro_rules! voice {
    ($($locale:literal),*) => {
        [$(voice!(@clips $locale, "again", "approved", "code-intro", "code-is", "confirm", "digit-0", "digit-1",
            "digit-2", "digit-3", "digit-4", "digit-5", "digit-6", "digit-7", "digit-8", "digit-9", "goodbye",
            "greeting", "no-key", "not-approved", "wrong-key")),*]
    };
    (@clips $locale:literal, $($clip:literal),*) => {
        [$(file!(concat!("prompts/", $locale, "/", $clip, ".wav"))),*]
    };
}

/// Every shipped file with its path.
fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let written = [
        file!("ringback.toml"),
        file!("routes/senders.toml"),
        file!("routes/default.toml"),
        file!("routes/us.toml"),
        file!("routes/ca.toml"),
        file!("routes/de.toml"),
        file!("routes/fr.toml"),
        file!("routes/gb.toml"),
        file!("routes/se.toml"),
        file!("carriers/northwind.toml"),
        file!("carriers/litware.toml"),
        file!("carriers/tailspin.toml"),
        file!("carriers/fabrikam.toml"),
        file!("carriers/contoso.toml"),
    ];
    let spoken = voice!("de-DE", "en-US", "es-MX", "fr-CA", "sv-SE");
    written.into_iter().chain(spoken.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_that_is_shipped_is_left_behind() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let inside: BTreeSet<PathBuf> = files().map(|(path, _)| root.join(path)).collect();
        let mut folders = vec![root.join("routes"), root.join("carriers")];
        folders.extend(
            fs::read_dir(root.join("prompts"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir()),
        );
        assert!(folders.len() >= 7, "{folders:?}");
        for folder in folders {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let source = path.file_name().is_some_and(|name| name == "phrases.toml");
                assert!(source || inside.contains(&path), "{}", path.display());
            }
        }
    }
}
