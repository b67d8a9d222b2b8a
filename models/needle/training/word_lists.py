"""The words of the needle language: names, attribute values and parts of filler sentences.

Their order matters: it decides what a seed gives.
"""


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return [p.strip() for p in text.replace("\n", "|").split("|") if p.strip()]


ADJECTIVES: list[str] = _words("""
    amber ancient arctic ashen autumn azure bitter blazing blunt bold boreal brass brave brazen
    bright brisk bronze broken calm carved cedar cheerful chilly civic clear clever cloudy cobalt
    cold common coral cosmic crimson crooked crystal curious damp dapper dark daring dawn deep deft
    desert distant drowsy dusky dusty eager early earnest eastern echoing elder electric elegant
    empty endless faded faint fair famous feral festive fierce final firm floral foggy forgotten
    fragile free fresh frosty gallant gentle giant gilded glad glassy gleaming gloomy golden grand
    granite grassy gray green grim hardy hasty hazel hazy hidden hollow honest humble icy idle
    inland inner iron ivory jade jagged jolly jovial keen kind lavish lazy leafy light lively lofty
    lonely loud loyal lucky lunar lush marble marine meek mellow merry mighty mild misty modest
    molten mossy muddy muted mystic narrow neat nimble noble northern novel oaken obsidian odd olden
    opal open orderly outer pale patient pearl placid plain playful polar polished proud purple
    quaint quick quiet radiant rapid rare regal remote restless rich rigid roaming robust rocky rosy
    rough round royal rugged rural rustic sacred salty sandy scarlet secret serene shaded shady
    sharp shining shy silent silver simple sleek sleepy slender small smoky smooth snowy soft solar
    solemn solid sombre southern spare spotted spring stable stark starry steady steep stern still
    stony stormy striped sturdy sunken sunny swift tall tame tender tidal tidy timber tiny topaz
    tranquil twilight upper urban valiant vast velvet verdant vivid wandering warm wary western
    whispering wild wily windy winter wise witty wooden woven young
""")

NOUNS: list[str] = _words("""
    abbey academy acorn airship alcove alder almanac altar anchor anvil apple apron arbor arcade
    arch archive arrow atlas atrium attic avenue axle badger bakery balcony ballad banner barge
    barley barn basin basket bastion bay beacon beaver bell bench birch bishop bison blossom boat
    book boulder bowl breeze brewery brick bridge bronco brook bucket buffalo cabin cable camel
    canal candle cannon canoe canyon cape caravan castle cavern chalet chapel chariot chest chimney
    church circus cliff clock cloister clover coach comet compass condor convent cottage cougar
    crane crater creek crest crown crypt cypress dagger dam deer delta depot diary dock dolphin dome
    donkey dragon drum dune eagle easel elk elm ember engine estate falcon farm fern ferry fiddle
    field finch fjord flute foal forge fort fountain fox frigate galleon gallery garden garnet gate
    gazelle geyser glacier glen goblet goose gorge grotto grove guild gull hamlet hammer harbor harp
    harvest hawk hearth hedge helmet heron hive hollow horn hostel hotel inn island jackal jaguar
    jetty journal jungle kayak kennel kettle keystone kiln kiosk kite lagoon lake lamp lantern lark
    laurel ledger lemur library lighthouse lily lion lodge loom lotus lynx magnet manor mansion map
    maple market marsh meadow medal mill mine mirror moat monastery monument moose mosaic motor
    mountain museum needle nest nursery oak oasis obelisk observatory ocean orchard orchid organ
    osprey otter owl oxen paddle pagoda palace panther parcel parish park parrot pasture pavilion
    pebble pelican pendant pier pillar pine pioneer plateau plaza plow pond pony poplar portal
    portrait prairie prism puffin pulley puma pyramid quarry quartz quay quiver rabbit raft railway
    ranch raven reactor reef relic ridge ring river robin rocket rooster rotunda saddle salmon
    satchel scepter school schooner scroll seal shield ship shrine shuttle sloop smithy sparrow
    spire squirrel stadium stag stairway station statue steamer stove stream sundial swan sword
    tablet tavern temple terrace theater thicket throne tiger tinder toad tortoise tower tractor
    trail tram trellis trumpet tulip tunnel turbine turret tusk urn valley vase vault vessel viaduct
    village villa vineyard viola violin wagon walnut walrus waterfall well whale wharf wheel willow
    windmill wolf workshop yacht
""")

ONSETS: list[str] = _words("""
    b br d dr f g gr h j k kr l m n p pr r s st t tr v w z
""")

VOWELS: list[str] = _words("""
    a e i o u
""")

COLOURS: list[str] = _words("""
    red blue yellow orange violet pink brown black white maroon teal turquoise magenta beige lilac
    indigo mauve ochre cream khaki navy cyan plum salmon peach lavender
""")

CITIES: list[str] = _words("""
    Lisbon Oslo Vienna Prague Madrid Cairo Lima Tokyo Delhi Paris Rome Berlin Dublin Athens Havana
    Quito Nairobi Hanoi Seoul Sydney Boston Chicago Denver Toronto Geneva Munich Warsaw Budapest
    Bergen Lagos Accra Tunis Manila Jakarta Bogota Santiago Helsinki Porto Seville Naples
""")

MATERIALS: list[str] = _words("""
    steel copper clay glass paper leather wool cotton silk linen plaster concrete bamboo rubber tin
    zinc wax slate bone ebony mahogany porcelain
""")

SYMBOLS: list[str] = _words("""
    circle star square triangle spiral cross feather key hand eye moon sun flame wave leaf hexagon
    diamond heart knot serpent ladder trident
""")

LANGUAGES: list[str] = _words("""
    Latin Greek Spanish French German Italian Polish Czech Danish Swedish Finnish Turkish Arabic
    Hebrew Hindi Urdu Thai Korean Japanese Basque Welsh Irish Dutch Swahili
""")

FLOWERS: list[str] = _words("""
    rose daisy iris jasmine poppy violet peony dahlia aster lilac marigold begonia petunia primrose
    magnolia camellia bluebell snowdrop thistle gardenia
""")

FILLER_STARTS: list[str] = _phrases("""
    Visitors often | Many people | Some guests | Local children | Two students | Old friends
    A few traders | Most travellers | Several writers | The neighbours | Young families
    The workers | Quiet readers | Busy merchants | The singers | Retired teachers
""")

FILLER_VERBS: list[str] = _phrases("""
    talk about | walk past | wait for | gather around | look after | dream of | laugh about
    read about | listen to | bring along | ask about | hurry past | write down | remember | enjoy
    discuss
""")

FILLER_OBJECTS: list[str] = _phrases("""
    the weather | the morning news | a cup of tea | the evening train | fresh bread
    the next concert | an unusual story | long letters | the summer holidays | a game of cards
    good soup | the price of milk | simple songs | the last lesson | warm coats | dinner plans
""")

FILLER_TIMES: list[str] = _phrases("""
    before lunch | after dark | on most days | at the weekend | in the afternoon
    during the holidays | every second week | now and then | when it rains | without much noise
    for a short while | with great care | in good company | as they always did | time after time
    while others rest
""")
