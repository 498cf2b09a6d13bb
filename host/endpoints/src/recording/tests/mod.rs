mod listing;
mod old;
mod place;
mod races;
mod torn;
