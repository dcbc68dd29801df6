//! Admission: may this challenge be tried at all? Deadline, limits, countries, number types.
