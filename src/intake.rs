//! Intake: jobs from AMQP and HTTP, parsed once into challenges.
