//! Fuzz targets: what must hold of any bytes that callers and engines send. `driver` says how they are run.

mod answers;
mod calls;
mod driver;
mod json;
mod streams;
