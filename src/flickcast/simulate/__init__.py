"""A world of users, posts, pictures and views with a known law of popularity, served like the real API."""
