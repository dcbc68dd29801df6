//! Says when the files of the configuration have changed.
