//! The handbook as a book, read by the parser that mdBook stands on: the summary names every chapter and nothing else,
//! every link and anchor leads somewhere, every fence of code is closed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::{Words, chapters, read, root};

/// What a page holds for others, and of others.
#[derive(Default)]
struct Page {
    /// Ids of headings.
    anchors: Words,
    links: Vec<String>,
    /// What is wrong with it.
    faults: Vec<String>,
}

/// With the extensions that mdBook has.
fn page(text: &str) -> Page {
    let mut page = Page::default();
    let (mut heading, mut counts) = (None::<String>, BTreeMap::<String, usize>::new());
    let mut broken = Vec::new();
    let note = |link: pulldown_cmark::BrokenLink<'_>| {
        // A bracket that stands for itself is followed by nothing; one that names a target is a link gone wrong.
        if link.link_type != pulldown_cmark::LinkType::Shortcut {
            broken.push(format!("no target is called {}", link.reference));
        }
        None
    };
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES;
    for (event, range) in
        Parser::new_with_broken_link_callback(text, options, Some(note)).into_offset_iter()
    {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let id = anchor(&heading.take().unwrap_or_default());
                let count = counts.entry(id.clone()).or_default();
                page.anchors.insert(match *count {
                    0 => id,
                    n => format!("{id}-{n}"),
                });
                *count += 1;
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => {
                let block = text[range.clone()].trim_end();
                let fence = block
                    .chars()
                    .take_while(|c| *c == block.chars().next().unwrap_or(' '));
                let fence: String = fence.collect();
                let last = block.lines().last().unwrap_or_default().trim();
                if block.lines().count() < 2 || !last.starts_with(&fence) {
                    let line = text[..range.start].lines().count() + 1;
                    page.faults
                        .push(format!("line {line}: a fence of code that is not closed"));
                }
            }
            _ => {}
        }
    }
    page.faults.extend(broken);
    page
}

/// As mdBook and GitHub make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    let kept = kept.collect::<String>().trim().to_lowercase();
    kept.replace(' ', "-")
}

fn faults(path: &Path, text: &str) -> Vec<String> {
    let mut page = page(text);
    for link in &page.links {
        if link.contains("://") {
            continue;
        }
        let (file, place) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => path.to_owned(),
            file => path.parent().expect("a folder").join(file),
        };
        if !target.exists() {
            page.faults.push(format!("{link} leads nowhere"));
        } else if !place.is_empty() {
            let there = fs::read_to_string(&target).expect("UTF-8");
            let there = self::page(&there).anchors;
            if !there.contains(place) {
                page.faults
                    .push(format!("{link}: no such heading in {there:?}"));
            }
        }
    }
    let name = path.display();
    page.faults
        .iter()
        .map(|fault| format!("{name}: {fault}"))
        .collect()
}

#[test]
fn every_link_leads_somewhere_and_every_fence_is_closed() {
    let mut files = chapters();
    for other in ["README.md", "CHANGELOG.md", "BENCHMARKS.md"] {
        files.push((root().join(other), read(other)));
    }
    let all: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| faults(path, text))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_summary_names_every_chapter_once_and_nothing_else() {
    let mut named = page(&read("docs/src/SUMMARY.md")).links;
    named.sort();
    let mut there: Vec<String> = chapters()
        .into_iter()
        .map(|(path, _)| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "SUMMARY.md")
        .collect();
    there.sort();
    assert_eq!(named, there);
}

#[test]
fn what_is_wrong_with_a_page_is_found() {
    let path: PathBuf = root().join("docs/src/a-page.md");
    for (text, fault) in [
        (
            "```text\nopen",
            "line 1: a fence of code that is not closed",
        ),
        ("see [it](nowhere.md)", "nowhere.md leads nowhere"),
        (
            "see [it](routing.md#nothing)",
            "routing.md#nothing: no such heading",
        ),
        ("see [it][there]", "no target is called there"),
    ] {
        let found = faults(&path, text);
        assert!(found.iter().any(|f| f.contains(fault)), "{text}: {found:?}");
    }
    let fine = "# A `b` c\n\n[it](#a-b-c) [x]\n\n## D\n\n## D\n\n```text\n[no](link.md)\n```\n";
    assert_eq!(page(fine).anchors, crate::words(["a-b-c", "d", "d-1"]));
    let wrong = faults(&path, &fine.replace("(#a-b-c)", "(routing.md)"));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_book_can_be_made() {
    let out = std::env::temp_dir().join(format!("ringback-book-{}", std::process::id()));
    let made = Command::new("mdbook")
        .args(["build", "docs", "--dest-dir"])
        .arg(&out)
        .current_dir(root())
        .output();
    let _ = fs::remove_dir_all(&out);
    // mdBook is not needed for anything else: where it is missing, the files are read as they are.
    if let Ok(said) = made {
        assert!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
