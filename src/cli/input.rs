//! Inputs of the verbs that take arguments or, with `-`, lines on standard input. Nothing is kept: each line
//! is handed on as it comes, and one line at most [`MAX_LINE`] octets long is held.

use std::io::{self, BufRead, Read};

/// Longest line read; a longer one is a fault of its own and skipped to its end.
pub const MAX_LINE: u64 = 1024 * 1024;

/// One line as read: its text, or what is wrong with it.
pub type InputLine = Result<String, BadLine>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    #[error("a line longer than {MAX_LINE} octets")]
    TooLong,
    #[error("not UTF-8: write the line in UTF-8")]
    NotText,
}

/// Hands every input to `each`: the arguments, a `-` among them replaced by the lines of standard input.
pub fn for_each(
    arguments: &[String],
    mut each: impl FnMut(InputLine) -> io::Result<()>,
) -> io::Result<()> {
    for argument in arguments {
        if argument == "-" {
            let stdin = io::stdin().lock();
            lines(stdin, |line| each(line.and_then(unquote)))?;
        } else {
            each(Ok(argument.clone()))?;
        }
    }
    Ok(())
}

/// Hands every line to `each`, without its end.
pub fn lines(
    mut from: impl BufRead,
    mut each: impl FnMut(InputLine) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if from
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut buffer)?
            == 0
        {
            return Ok(());
        }
        if buffer.last() != Some(&b'\n') && buffer.len() as u64 == MAX_LINE {
            from.skip_until(b'\n')?;
            each(Err(BadLine::TooLong))?;
            continue;
        }
        if buffer.last() == Some(&b'\n') {
            buffer.pop();
            if buffer.last() == Some(&b'\r') {
                buffer.pop();
            }
        }
        each(
            std::str::from_utf8(&buffer)
                .map(str::to_owned)
                .map_err(|_| BadLine::NotText),
        )?;
    }
}

/// A line that is a JSON string is read as one; every other line is taken as it stands.
fn unquote(line: String) -> InputLine {
    if line.starts_with('"')
        && let Ok(text) = serde_json::from_str(&line)
    {
        return Ok(text);
    }
    Ok(line)
}

/// Ends a verb: a reader that went away (`| head`) is no fault.
pub fn finish(outcome: io::Result<()>, faults: bool) -> std::process::ExitCode {
    match outcome {
        Ok(()) if faults => std::process::ExitCode::from(1),
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringback: reading or writing: {error}");
            std::process::ExitCode::from(1)
        }
    }
}
