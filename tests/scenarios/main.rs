//! Situations, through real sockets: what the phone got, what the ear heard, what was reported.

mod calls;
mod carriers;
mod health;
mod promises;
mod receipts;
mod reload;
mod seams;
mod smsc;
mod strangers;
mod texts;
mod trunks;
mod world;
