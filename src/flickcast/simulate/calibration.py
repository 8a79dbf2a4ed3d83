"""The numbers that shape the simulated world: marginal facts of the SMP Challenge's data, and our own choices.

Facts are rounded summaries (shares, means, quantiles) of public data; nothing here is fitted to single posts. Choices
are marked as such: nobody knows the real law of popularity, so its strengths were set until the world's label mean,
spread, tag correlation and batch correlation came out like the real ones.
"""

# Label mean over all posts; offsets below are relative to it.
LABEL_MEAN = 6.4

# Subcategory: share of posts in 1/10,000, and its label mean minus LABEL_MEAN. The source counts "Good" and
# "Good,Morning" together; here each gets half.
SUBCATEGORY_FACTS: dict[str, dict[str, tuple[float, float]]] = {
    "Travel&Active&Sports": {
        "Baltimore": (80, -0.36),
        "Baseball": (79, -1.08),
        "Basketball": (32, -0.74),
        "Bodybuilding": (193, 0.55),
        "Cars": (273, -0.27),
        "Cheerleading": (139, 0.82),
        "Dance": (110, 0.15),
        "Denver": (54, -0.29),
        "Football": (146, 0.27),
        "Gymnastics": (146, 0.96),
        "Health,Fitness": (61, 0.29),
        "Hockey": (155, -0.59),
        "Motorcycles": (126, -0.27),
        "Running": (34, 1.67),
        "San": (74, -1.2),
        "Seattle": (24, -0.23),
        "Skateboarding": (190, -0.49),
        "Soccer": (76, 0.53),
        "Sports": (21, -0.14),
        "Super": (0.5, -2.1),
        "Travel": (161, -0.79),
    },
    "Holiday&Celebrations": {
        "Birthday": (44, -1.62),
        "Christmas": (338, -0.21),
        "Halloween": (536, -0.29),
        "Holidays": (1.4, -1.17),
        "New": (222, -0.8),
        "Party": (159, 0.21),
        "Thanksgiving": (205, -0.42),
        "Wedding": (286, -0.5),
    },
    "Fashion": {
        "Bracelets": (16, -0.59),
        "Earrings": (25, 0.96),
        "Fashion": (29, 1.01),
        "Girls,Fashion": (5, 1.28),
        "Guys,Fashion": (56, 0.36),
        "Hair": (239, 0.64),
        "High,Heels": (5, -0.63),
        "Jewelry": (180, 0.16),
        "Makeup": (393, 1.13),
        "Nails": (174, 0.73),
        "OOTD": (71, 0.21),
        "Piercings": (111, 1.39),
        "Sneakers": (74, 0.98),
        "Tattoos": (234, 1.74),
    },
    "Entertainment": {
        "Books": (363, -0.12),
        "Movies": (201, -0.29),
        "Music": (344, -0.27),
        "Video&Games": (60, -0.01),
    },
    "Social&People": {
        "Friends": (104, -0.22),
        "Girls": (3, 0.82),
        "Good": (224, 0.03),
        "Good,Morning": (224, 0.03),
        "Guys": (21, 1.67),
        "Love": (124, 0.78),
        "Selfies": (64, -0.9),
    },
    "Whether&Season": {
        "Cloudy": (67, -1.03),
        "Fall": (29, -1.42),
        "Raining": (147, 1.21),
        "Snowing": (102, -0.34),
        "Spring": (17, -0.69),
        "Summer": (38, -0.73),
        "Sunny": (180, 0.63),
        "Winter": (84, 0.07),
    },
    "Animal": {
        "Cats": (80, -1.03),
        "Dogs": (83, 0.5),
        "Fish": (224, -0.45),
        "Horses": (159, -0.21),
        "Insects": (108, -0.63),
    },
    "Food": {
        "Coffee": (49, -0.75),
        "Dessert": (207, -0.61),
        "Drinks": (200, -0.39),
        "General": (3, -2.75),
        "Tea": (88, 0.41),
    },
    "Urban": {
        "Architecture": (247, -0.48),
        "StreetArt": (253, 0.02),
    },
    "Electronics": {
        "Electronics": (184, -0.54),
    },
    "Family": {
        "Babies": (132, 0.31),
        "Kids": (8, -2.04),
    },
}

# The part of the year (0..1) in which some subcategories peak; the others get a weak season with a phase of their own.
SEASON_PEAKS = {
    **{"Halloween": 0.82, "Thanksgiving": 0.90, "Christmas": 0.97, "New": 0.0, "Fall": 0.80, "Winter": 0.05},
    **{"Snowing": 0.08, "Spring": 0.32, "Summer": 0.55, "Sunny": 0.55, "Wedding": 0.50, "Football": 0.85},
}
STRONG_SEASON, WEAK_SEASON = 1.6, 0.5  # on the log of the share: a choice

# Growth of a category's log share per year: the shift seen between the challenge's training year and its test time.
CATEGORY_TREND = {
    **{"Travel&Active&Sports": 0.2, "Holiday&Celebrations": -0.3, "Fashion": -0.35, "Whether&Season": 0.2},
    **{"Animal": 0.35, "Food": 0.15, "Urban": 0.25, "Electronics": 0.4},
}

# Number of tags: its quantile function.
TAG_COUNT_QUANTILES = (
    (0, 0.007, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99, 1),
    (1, 1.5, 2, 3, 5, 7, 8, 9, 12, 16, 19, 25, 28, 32, 49, 60, 73, 75.4),
)
TAG_LOG_MEAN, TAG_LOG_SPREAD = 2.80, 0.80  # of log(1 + number of tags)

# Posting time, UTC.
HOUR_SHARES = (
    *(0.0310, 0.0402, 0.0530, 0.0663, 0.0663, 0.0704, 0.0670, 0.0748, 0.0712, 0.0650, 0.0601, 0.0502),
    *(0.0494, 0.0399, 0.0312, 0.0289, 0.0327, 0.0185, 0.0146, 0.0115, 0.0102, 0.0114, 0.0160, 0.0203),
)
WEEKDAY_SHARES = (0.1008, 0.1022, 0.1075, 0.1270, 0.1483, 0.2382, 0.1759)  # from Monday
DAY_SPREAD = 0.2  # of the log of a day's number of posts: a choice

# Accounts: quantiles of each number, and the rank correlations between them, in the order of USER_NUMBERS. The first
# two are what the API tells; the law's observable part uses them.
USER_NUMBERS = (
    *("photo_count", "following", "followers", "total_views"),
    *("total_tags", "total_geotagged", "total_faves", "total_in_group"),
)
USER_QUANTILE_LEVELS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
USER_QUANTILES = (
    (1, 12, 40, 94, 294, 905, 3454, 11152, 22325, 69666, 400_000),
    (0, 0, 1, 6, 29, 116, 361, 935, 1805, 6361, 100_000),
    (0, 0, 4, 12, 50, 218, 766, 2033, 3616, 10478, 150_000),
    (0, 60, 5429, 18675, 104318, 536049, 2223287, 6672937, 12508081, 42557739, 500_000_000),
    (0, 0, 29, 83, 275, 773, 1996, 4628, 7340, 17400, 120_000),
    (0, 0, 0, 0, 0, 15, 403, 2569, 6706, 27964, 300_000),
    (0, 0, 0, 2, 48, 498, 3332, 16807, 41373, 187649, 3_000_000),
    (0, 0, 0, 1, 13, 70, 193, 405, 624, 1464, 5000),
)
USER_RANK_CORRELATIONS = (
    (1.00, 0.19, 0.30, 0.71, 0.67, 0.46, 0.17, 0.20),
    (0.19, 1.00, 0.80, 0.50, 0.38, 0.29, 0.75, 0.68),
    (0.30, 0.80, 1.00, 0.75, 0.50, 0.34, 0.75, 0.71),
    (0.71, 0.50, 0.75, 1.00, 0.74, 0.47, 0.49, 0.51),
    (0.67, 0.38, 0.50, 0.74, 1.00, 0.52, 0.39, 0.46),
    (0.46, 0.29, 0.34, 0.47, 0.52, 1.00, 0.28, 0.36),
    (0.17, 0.75, 0.75, 0.49, 0.39, 0.28, 1.00, 0.62),
    (0.20, 0.68, 0.71, 0.51, 0.46, 0.36, 0.62, 1.00),
)

# Accounts and posts: small shares.
GEOTAGGED_USERS, GEOTAGGED_POSTS = 0.19, 0.6  # their product: about 11 % of posts
GEO_ACCURACIES, GEO_ACCURACY_SHARES = (16, 15, 14, 13, 12), (0.48, 0.19, 0.14, 0.14, 0.05)
NO_ALIAS, NO_TIMEZONE, NO_PLACE = 0.245, 0.3, 0.5
PRO, INSTAGRAM, DELETED = 0.3, 0.08, 0.004
EMPTY_TITLE, WITH_DESCRIPTION, VIDEO = 0.02, 0.3, 0.015

# Uploads: the share that bring several posts at once, and the tail of their size (P(size >= k) = (2 / k) ** exponent).
BATCH_SHARE, BATCH_EXPONENT, BATCH_MAXIMUM = 0.095, 2.3, 60
MEAN_UPLOAD = 1.0 + BATCH_SHARE * (1.0 + sum((2.0 / k) ** BATCH_EXPONENT for k in range(3, BATCH_MAXIMUM + 1)))
