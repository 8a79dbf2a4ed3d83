"""The simulated world's words: the challenge's categories, concepts of our own, and words for titles and tags."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Categories and subcategories are the challenge's, spelled as in its files ("Whether" included). The concepts are not:
# they are everyday words made up for the simulated world, each belonging to one subcategory.
TAXONOMY: dict[str, dict[str, str]] = {
    "Travel&Active&Sports": {
        "Baltimore": "harborplace crabcake oriole rowhouse fortmchenry",
        "Baseball": "pitcher homerun dugout ballpark catcher inning slugger",
        "Basketball": "hoops dunk freethrow pointguard courtside rebound",
        "Bodybuilding": "biceps barbell deadlift physique dumbbell powerlifter squatrack",
        "Cars": "roadster hotrod musclecar dashboard convertible tailfin chrome garage",
        "Cheerleading": "pompom cheersquad pepsquad spiritstick sideline pyramid",
        "Dance": "ballerina tango ballroom breakdance pirouette choreography flamenco",
        "Denver": "milehigh foothills redrock lodo unionstation",
        "Football": "touchdown endzone linebacker huddle kickoff tackle gridiron",
        "Gymnastics": "balancebeam somersault vault handstand leotard cartwheel trampoline",
        "Health,Fitness": "workout yoga treadmill wellness pilates jogger",
        "Hockey": "goalie puck slapshot icerink faceoff penaltybox",
        "Motorcycles": "chopper sidecar biker scooter handlebar motocross exhaust",
        "Running": "marathon sprinter trailrun finishline relay halfmarathon",
        "San": "cablecar bayarea goldengate gaslamp mission",
        "Seattle": "spaceneedle ferry pugetsound pikeplace monorail",
        "Skateboarding": "kickflip halfpipe longboard skatepark grindrail ollie",
        "Soccer": "goalkeeper penaltykick midfielder freekick dribble striker",
        "Sports": "referee scoreboard podium locker jersey",
        "Super": "halftime tailgate superfan bowlgame",
        "Travel": "backpacker suitcase passport airport lighthouse landmark souvenir hostel",
    },
    "Holiday&Celebrations": {
        "Birthday": "candles birthdaycake balloon partyhat sweetsixteen",
        "Christmas": "reindeer mistletoe stocking gingerbread wreath tinsel nativity snowglobe",
        "Halloween": "jackolanterns witch zombie hauntedmansion costume skeleton trickster cobweb",
        "Holidays": "bankholiday longweekend festive vacationtime",
        "New": "fireworks countdown midnight resolution confetti champagne",
        "Party": "disco nightclub streamer dancefloor masquerade houseparty",
        "Thanksgiving": "turkey cornucopia gratitude stuffing feast harvesttable",
        "Wedding": "bride bouquet bridesmaid groom veil aisle vows",
    },
    "Fashion": {
        "Bracelets": "bangle cuff charmbracelet wristband beads",
        "Earrings": "studs dangle hoopearring earcuff teardrop",
        "Fashion": "runway couture catwalk stylist designer",
        "Girls,Fashion": "miniskirt handbag sundress lookbook",
        "Guys,Fashion": "menswear bowtie waistcoat cufflinks",
        "Hair": "braids curls ponytail bangs updo redhead hairdye barber",
        "High,Heels": "stiletto platforms pumps wedges",
        "Jewelry": "pendant necklace brooch gemstone locket amulet silversmith",
        "Makeup": "lipstick eyeshadow mascara eyeliner foundation blush contour lipgloss",
        "Nails": "manicure nailpolish nailart glitter cuticle pedicure",
        "OOTD": "outfit wardrobe streetstyle thrifted closet",
        "Piercings": "septum nosering lipring industrial bodyjewelry",
        "Sneakers": "hightops trainers kicks shoelaces sneakerhead",
        "Tattoos": "inkwork sleeve blackwork stencil tattooist fullback needlework",
    },
    "Entertainment": {
        "Books": "paperback library bookshelf novelist bookmark reading bookstore chapter",
        "Movies": "cinema blockbuster premiere projector filmset screenplay popcorn director",
        "Music": "guitarist drummer vinyl concert saxophone synth choir busker",
        "Video&Games": "joystick arcade gamer pixel console speedrun",
    },
    "Social&People": {
        "Friends": "bestfriend hangout roommate reunion sleepover",
        "Girls": "girlfriends sisterhood tomboy lady",
        "Good": "lucky cheerful kindness smiling wonderful goodlife",
        "Good,Morning": "sunrisewalk breakfast earlybird alarmclock morningdew",
        "Guys": "dude gentleman lumberjack bachelor",
        "Love": "sweetheart romance hug valentine soulmate couple",
        "Selfies": "mirrorshot duckface selfiestick frontcamera selfportrait",
    },
    "Whether&Season": {
        "Cloudy": "overcast cumulus stormcloud grayday",
        "Fall": "autumnleaves acorn pumpkinfield foliage",
        "Raining": "umbrella puddle downpour raindrop drizzle raincoat",
        "Snowing": "blizzard snowman snowflake snowfall icicle",
        "Spring": "blossom tulip sprout cherrytree",
        "Summer": "beachday sandcastle popsicle lemonade",
        "Sunny": "sunbeam bluesky sunglasses sunburst goldenhour sunflare",
        "Winter": "frost icestorm mittens frozenlake",
    },
    "Animal": {
        "Cats": "kitten whiskers tabby purring catnap",
        "Dogs": "puppy terrier poodle beagle retriever",
        "Fish": "goldfish aquarium koi stingray clownfish seahorse angelfish",
        "Horses": "stallion foal saddle bridle pony gallop equestrian",
        "Insects": "ladybug dragonfly beetle honeybee grasshopper butterfly moth",
    },
    "Food": {
        "Coffee": "espresso latte barista cappuccino coffeebean",
        "Dessert": "cupcake brownie cheesecake icecream macaron tiramisu pudding",
        "Drinks": "cocktail smoothie milkshake lager mojito martini",
        "General": "lunchbox leftovers dinnerplate",
        "Tea": "teapot matcha chamomile earlgrey teahouse",
    },
    "Urban": {
        "Architecture": "skyscraper cathedral facade archway spiralstair rooftop brutalism",
        "StreetArt": "mural graffiti spraypaint wheatpaste streetartist alley",
    },
    "Electronics": {
        "Electronics": "laptop circuitboard headphones smartphone keyboard soldering oscilloscope drone",
    },
    "Family": {
        "Babies": "newborn pacifier stroller toddler onesie lullaby",
        "Kids": "playground sandbox schoolbus crayon",
    },
}

CATEGORIES: tuple[str, ...] = tuple(TAXONOMY)
SUBCATEGORIES: tuple[tuple[int, str], ...] = tuple(
    (category, name) for category, parts in enumerate(TAXONOMY.values()) for name in parts
)
CONCEPTS: tuple[tuple[int, str], ...] = tuple(
    (subcategory, word)
    for subcategory, words in enumerate(words for parts in TAXONOMY.values() for words in parts.values())
    for word in words.split()
)

# Words that any post may carry as tags.
COMMON_WORDS: tuple[str, ...] = _words(
    """
    photography photo canon nikon sony fujifilm leica olympus dslr mirrorless lens bokeh macro portrait landscape
    blackandwhite monochrome film analog digital flash tripod exposure filter hdr panorama closeup detail texture
    pattern abstract minimal vintage retro modern art artist creative design colour colors red blue green yellow
    orange purple pink white black gold silver brown light shadow sunlight night evening morning afternoon sunset
    sunrise dusk dawn sky clouds water river lake sea ocean beach coast island mountain hill valley forest tree leaf
    flower garden park field grass nature wildlife bird outdoor indoor city town village street road bridge building
    house window door wall roof tower church station train bus bicycle boat car plane trip journey adventure explore
    weekend holiday vacation family friends people man woman child face eyes smile hands hair fun happy love life home
    work school university museum gallery show event festival market shop cafe restaurant food drink music dance
    sport game team winter summer spring autumn rain snow wind sun moon star fire ice stone wood metal glass paper
    england france germany italy spain usa canada japan brazil mexico australia india london paris berlin rome madrid
    newyork chicago texas california tokyo toronto sydney day year january february march april may june july august
    september october november december old new big small beautiful pretty cute cool nice amazing awesome best first
    last high low deep soft bright dark warm cold fresh sweet natural classic local daily project series instagram
    iphone mobile android square upload public flickr album collection memory moment mood dream hope peace quiet
    """
)

# A title is one of these with a word of the concept; {place} and {number} are optional parts.
TITLES: tuple[str, ...] = (
    "{concept}",
    "{Concept} in {place}",
    "The {concept}",
    "{Concept} #{number}",
    "{number} {concept}",
    "My {common} {concept}",
    "A {common} and a {concept}",
    "{Concept}, {common}",
    "{Common} {concept} at {place}",
    "More {concept}",
    "{Concept} & {common}",
    "IMG_{number}",
    "DSC_{number}",
    "Just another {concept} before the {common} was gone",
    "One of the {concept} pictures of our {common} trip to {place}",
)

# Places with latitude and longitude in degrees and the hours from UTC in winter.
PLACES: tuple[tuple[str, float, float, int], ...] = (
    ("London", 51.51, -0.13, 0),
    ("Paris", 48.86, 2.35, 1),
    ("Berlin", 52.52, 13.40, 1),
    ("Madrid", 40.42, -3.70, 1),
    ("Rome", 41.90, 12.50, 1),
    ("New York", 40.71, -74.01, -5),
    ("Chicago", 41.88, -87.63, -6),
    ("Denver", 39.74, -104.99, -7),
    ("Seattle", 47.61, -122.33, -8),
    ("San Francisco", 37.77, -122.42, -8),
    ("Toronto", 43.65, -79.38, -5),
    ("Mexico City", 19.43, -99.13, -6),
    ("São Paulo", -23.55, -46.63, -3),
    ("Tokyo", 35.68, 139.69, 9),
    ("Manila", 14.60, 120.98, 8),
    ("Sydney", -33.87, 151.21, 10),
)

FIRST_NAMES = _words("ada ben cleo dora emil finn gina hugo iris jana kurt lena milo nora otis pia")
LAST_NAMES = _words("ash birch cedar dale elm fern grove hazel ivy juniper oak pine reed sage")
