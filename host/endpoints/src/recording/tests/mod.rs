mod listing;
mod old;
mod place;
mod races;
mod task;
mod torn;
