//! Situations, through real sockets: what the phone got, what the ear heard, what was reported.

mod calls;
mod carriers;
mod promises;
mod seams;
mod texts;
mod world;
