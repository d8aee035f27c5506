"""Headers of public data sets, with a few hundred rows of the same look, and what a reader would answer."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np

N = 300


@dataclass(frozen=True)
class PublicFile:
    """``columns``: name -> look of its values; the right answer; ``why_unused``: column -> a word of the reason."""

    name: str
    columns: dict[str, str]
    source: str
    target: str
    types: tuple[str, str]
    weight: str | None = None
    timestamp: str | None = None
    unit: str | None = None
    event: str | None = None
    why_unused: dict[str, str] = field(default_factory=dict)


def values_of(look: str, seed: int) -> list[str]:
    """Text of N values that look like those of a column."""
    rng = np.random.default_rng(seed)
    start = dt.datetime(2019, 11, 1, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 60 * 24 * 30, N))]
    kind, _, rest = look.partition("=")
    looks = {
        "id": lambda: [str(n) for n in rng.integers(1, 60, N)],
        "id2": lambda: [str(n) for n in rng.integers(1, 40, N)],
        "big": lambda: [str(1_000_000 + n) for n in rng.integers(1, 60, N)],
        "padded": lambda: [f"{n:010d}" for n in rng.integers(1, 60, N)],
        "hash": lambda: [f"{n * 2654435761 % 2**32:08x}ab" for n in rng.integers(1, 60, N)],
        "text": lambda: [f"{rest or 'x'}{n}" for n in rng.integers(1, 50, N)],
        "name": lambda: [f"Some Name {n}" for n in rng.integers(1, 50, N)],
        "long": lambda: ["a sentence of many words that nobody would take for an id of anything at all"] * N,
        "row": lambda: [str(n) for n in range(N)],
        "unique": lambda: [f"r{n * 7919 % 10007:05d}" for n in range(N)],
        "stars": lambda: [str(n) for n in rng.integers(1, 6, N)],
        "halves": lambda: [f"{n / 2}" for n in rng.integers(1, 11, N)],
        "zeros": lambda: [str(n) for n in rng.integers(0, 11, N)],
        "count": lambda: [str(n) for n in rng.integers(1, 90, N)],
        "signed": lambda: [str(n) for n in rng.integers(-5, 9, N)],
        "price": lambda: [f"{n:.2f}" for n in rng.random(N) * 90 + 1],
        "huge": lambda: [f"{n:.2f}" for n in rng.random(N) * 9e7 + 2e6],
        "ratio": lambda: [f"{n:.6f}" for n in rng.random(N)],
        "s": lambda: [str(int(m.timestamp())) for m in moments],
        "ms": lambda: [str(int(m.timestamp() * 1000)) for m in moments],
        "iso": lambda: [m.strftime("%Y-%m-%dT%H:%M:%SZ") for m in moments],
        "date": lambda: [m.strftime("%Y-%m-%d") for m in moments],
        "dates": lambda: [m.strftime("%Y-%m-%d %H:%M:%S") for m in moments],
        "us": lambda: [m.strftime("%m/%d/%Y %H:%M") for m in moments],
        "daynumber": lambda: [str(n) for n in rng.integers(1, 711, N)],
        "of": lambda: [rest.split("|")[n] for n in rng.integers(0, len(rest.split("|")), N)],
        "mostly": lambda: [("" if n % 10 < 8 else str(n)) for n in rng.integers(1, 400, N)],
        "nulls": lambda: [("" if n % 4 == 0 else str(17_000 + n)) for n in rng.integers(1, 80, N)],
    }
    return looks[kind]()


def public(name: str, columns: str, answer: str, types: str, **more: str) -> PublicFile:
    """``columns``: "name look, name look"; ``answer``: "source target"; unused words as ``unused="name:word ..."``."""
    parsed = {}
    for part in columns.split(", "):
        column, _, look = part.rpartition(" ")
        parsed[column] = look
    source, target = answer.split(" > ")
    left, right = types.split()
    unused = dict(pair.rsplit(":", 1) for pair in more.pop("unused", "").split(";") if pair)
    return PublicFile(name, parsed, source, target, (left, right), why_unused=unused, **more)  # type: ignore[arg-type]


# fmt: off
FILES = [
    public("movielens", "userId id, movieId id2, rating halves, timestamp s", "userId > movieId", "user movie",
           weight="rating", timestamp="timestamp", unit="s"),
    public("movielens tags", "userId id, movieId id2, tag name, timestamp s", "userId > movieId", "user movie",
           timestamp="timestamp", unit="s"),
    public("amazon 2018", "overall stars, verified of=true|false, reviewTime name, reviewerID hash, asin padded, "
           "reviewerName name, reviewText long, summary name, unixReviewTime s", "reviewerID > asin", "reviewer asin",
           weight="overall", timestamp="unixReviewTime", unit="s"),
    public("amazon 2023", "user_id hash, parent_asin padded, rating stars, timestamp ms", "user_id > parent_asin",
           "user parent_asin", weight="rating", timestamp="timestamp", unit="ms"),
    public("lastfm hetrec", "userID id, artistID id2, weight count", "userID > artistID", "user artist",
           weight="weight"),
    public("lastfm friends", "userID id, friendID id", "userID > friendID", "user user"),
    public("yelp", "review_id unique, user_id hash, business_id text, stars stars, useful zeros, funny zeros, "
           "cool zeros, "
           "text long, date dates", "user_id > business_id", "user business", weight="stars", timestamp="date"),
    public("retailrocket", "timestamp ms, visitorid id, event of=view|addtocart|transaction, itemid id2, "
           "transactionid mostly", "visitorid > itemid", "visitor item", timestamp="timestamp", unit="ms",
           event="event",
           unused="transactionid:took place"),
    public("diginetica", "sessionId id, userId mostly, itemId big, timeframe count, eventdate date", "sessionId "
           "> itemId",
           "session item", timestamp="eventdate"),
    public("yoochoose", "session_id id, timestamp iso, item_id big, category of=0|S|1", "session_id > item_id",
           "session item", timestamp="timestamp"),
    public("instacart", "order_id id, product_id id2, add_to_cart_order count, reordered of=0|1",
           "order_id > product_id", "order product"),
    public("online retail", "InvoiceNo text=5363, StockCode text=85123, Description name, Quantity signed, "
           "InvoiceDate us, "
           "UnitPrice price, CustomerID nulls, Country of=France|Spain", "CustomerID > StockCode",
           "customer stock", timestamp="InvoiceDate",
           unused="InvoiceNo:took place"),
    public("goodreads", "user_id hash, book_id big, review_id unique, is_read of=true|false, rating stars, "
           "date_added iso", "user_id > book_id", "user book", weight="rating", timestamp="date_added"),
    public("tmall", "user_id id, item_id id2, cat_id id2, merchant_id id2, brand_id id2, time_stamp daynumber, "
           "action_type of=0|1|2|3", "user_id > item_id", "user item", event="action_type"),
    public("dunnhumby", "household_key id, BASKET_ID big, DAY daynumber, PRODUCT_ID big, QUANTITY count, "
           "SALES_VALUE price, STORE_ID id2, RETAIL_DISC price", "household_key > PRODUCT_ID", "household product",
           weight="QUANTITY", unused="BASKET_ID:took place"),
    public("h and m", "t_dat date, customer_id hash, article_id padded, price ratio, sales_channel_id of=1|2",
           "customer_id > article_id", "customer article", timestamp="t_dat"),
    public("netflix", "MovieID id, CustomerID id, Rating stars, Date date", "CustomerID > MovieID", "customer movie",
           weight="Rating", timestamp="Date"),
    public("twitter follows", "follower_id id, followee_id id", "follower_id > followee_id", "node node"),
    public("snap", "FromNodeId id, ToNodeId id", "FromNodeId > ToNodeId", "node node"),
    public("citations", "citing id, cited id", "citing > cited", "node node"),
    public("citations 2", "citing_paper_id id, cited_paper_id id", "citing_paper_id > cited_paper_id", "paper paper"),
    public("wiki links", "page_id_from id, page_title_from name, page_id_to id, page_title_to name",
           "page_id_from > page_id_to", "page page"),
    public("github stars", "user text, repo text, starred_at iso", "user > repo", "user repo",
           timestamp="starred_at"),
    public("stack overflow", "Id row, PostId id, UserId id2, VoteTypeId of=1|2|3, CreationDate dates", "UserId "
           "> PostId",
           "user post", timestamp="CreationDate", unused="Id:rows"),
    public("spotify", "user_id hash, artistname name, trackname name, playlistname name", "user_id > trackname",
           "user track"),
    public("kuairec", "user_id id, video_id id2, play_duration count, video_duration count, time dates, date big, "
           "watch_ratio ratio", "user_id > video_id", "user video", timestamp="time"),
    public("book crossing", "User-ID id, ISBN padded, Book-Rating zeros", "User-ID > ISBN", "user isbn"),
    public("emails", "src id, dst id, time s", "src > dst", "node node", timestamp="time", unit="s"),
    public("enron", "sender text=a@b, recipient text=a@b, sent_at iso", "sender > recipient", "node node",
           timestamp="sent_at"),
    public("paysim", "step count, type of=PAYMENT|TRANSFER|CASH_OUT, amount huge, nameOrig text=C, "
           "oldbalanceOrg price, "
           "newbalanceOrig price, nameDest text=C, oldbalanceDest price, newbalanceDest price, isFraud of=0|1",
           "nameOrig > nameDest", "node node", event="type"),
    public("phone calls", "caller padded, callee padded, start_time dates, duration count, tower_id id2",
           "caller > callee", "node node",
           timestamp="start_time"),
    public("recbole", "user_id:token id, item_id:token id2, rating:float stars, timestamp:float s",
           "user_id:token > item_id:token", "user item", weight="rating:float", timestamp="timestamp:float",
           unit="s"),
    public("pandas index", "Unnamed: 0 row, user_id id, item_id id2", "user_id > item_id", "user item",
           unused="Unnamed: 0:rows"),
    public("bike trips", "trip_id unique, start_time dates, end_time dates, start_station_id id, end_station_id id, "
           "bike_id id2, usertype of=Subscriber|Customer", "start_station_id > end_station_id", "station station",
           timestamp="start_time", unused="trip_id:took place"),
    public("ecommerce store", "event_time dates, event_type of=view|cart|purchase, product_id big, category_id big, "
           "category_code name, brand text, price price, user_id big, user_session hash", "user_id > product_id",
           "user product", timestamp="event_time", event="event_type", unused="user_session:took place"),
    public("olist", "order_id hash, order_item_id of=1|2, product_id hash, seller_id hash, shipping_limit_date "
           "dates, "
           "price price", "order_id > product_id", "order product", timestamp="shipping_limit_date"),
    public("spanish shop", "fecha date, cliente_id id, producto_id id2, cantidad count", "cliente_id > producto_id",
           "cliente producto", weight="cantidad", timestamp="fecha"),
    public("german shop", "KundenNr id, ArtikelNr id2, Menge count, Datum date", "KundenNr > ArtikelNr",
           "kunden artikel", weight="Menge", timestamp="Datum"),
    public("portuguese shop", "id_usuário id, id_produto id2, data date", "id_usuário > id_produto", "usuario "
           "produto",
           timestamp="data"),
    public("upper case", "USER_ID id, ITEM_ID id2, RATING stars, TS s", "USER_ID > ITEM_ID", "user item",
           weight="RATING", timestamp="TS", unit="s"),
    public("plurals", "users id, products id2, counts count", "users > products", "users products", weight="counts"),
    public("prefixed", "dim_customer_sk id, dim_product_sk id2, order_date date, units count",
           "dim_customer_sk > dim_product_sk", "dim_customer dim_product", timestamp="order_date"),
    public("gephi", "Source id, Target id, Type of=Directed, Id row, Weight count", "Source > Target", "node node",
           weight="Weight", event="Type", unused="Id:rows"),
    public("reddit links", "SOURCE_SUBREDDIT text, TARGET_SUBREDDIT text, POST_ID unique, TIMESTAMP dates, "
           "LINK_SENTIMENT of=1|-1", "SOURCE_SUBREDDIT > TARGET_SUBREDDIT", "subreddit subreddit",
           timestamp="TIMESTAMP"),
    public("flights", "year of=2013, carrier of=UA|AA, origin text=J, dest text=J, distance count", "origin > dest",
           "node node"),
    public("loans", "borrower text=p, lender_bank text=b, principal huge", "borrower > lender_bank",
           "borrower lender_bank"),
    public("unknown names", "zork_id id, blub_id id2", "zork_id > blub_id", "zork blub"),
    public("unknown, with index", "index row, zork text=z, blub text=b", "zork > blub", "zork blub",
           unused="index:rows"),
    public("kkbox", "msno hash, song_id text, source_system_tab of=a|b, source_type of=c|d, target of=0|1",
           "msno > song_id", "msno song"),
    public("otto", "session id, aid id2, ts ms, type of=clicks|carts|orders", "session > aid", "session aid",
           timestamp="ts", unit="ms", event="type"),
    public("ethereum", "hash unique, from_address hash, to_address hash, value huge, block_timestamp dates",
           "from_address > to_address", "address address", timestamp="block_timestamp"),
    public("chess", "white text=p, black text=p, white_elo count, black_elo count, result of=1-0|0-1",
           "white > black", "node node"),
    public("football", "date date, home_team text, away_team text, home_score zeros, away_score zeros",
           "home_team > away_team", "team team", timestamp="date"),
    public("foursquare", "userId id, venueId hash, venueCategoryId hash, venueCategory name, latitude price, "
           "longitude price, timezoneOffset signed, utcTimestamp name", "userId > venueId", "user venue"),
    public("outbrain", "uuid hash, document_id big, platform of=1|2|3, geo_location text", "uuid > document_id",
           "uuid document"),
    public("ta feng", "TRANSACTION_DT date, CUSTOMER_ID id, AGE_GROUP of=20-24|25-29, PIN_CODE of=115|221, "
           "PRODUCT_SUBCLASS id2, PRODUCT_ID big, AMOUNT count, SALES_PRICE price", "CUSTOMER_ID > PRODUCT_ID",
           "customer product", weight="AMOUNT", timestamp="TRANSACTION_DT"),
    public("beer", "brewery_id id, brewery_name name, review_time s, review_overall halves, review_profilename name, "
           "beer_name name, beer_beerid id2", "review_profilename > beer_beerid", "review_profile beer",
           weight="review_overall", timestamp="review_time", unit="s"),
    public("anime", "user_id id, anime_id id2, rating signed", "user_id > anime_id", "user anime"),
    public("airbnb", "listing_id big, id unique, date date, reviewer_id big, reviewer_name name, comments long",
           "reviewer_id > listing_id", "reviewer listing", timestamp="date"),
    public("coauthors", "author_1 name, author_2 name, papers count", "author_1 > author_2", "author author"),
    public("proteins", "protein1 text, protein2 text, combined_score count", "protein1 > protein2", "protein protein",
           weight="combined_score"),
    public("travel", "origin_zone id, destination_zone id, trips count", "origin_zone > destination_zone", "zone zone"),
    public("knowledge graph", "head text, relation of=likes|knows, tail text", "head > tail", "node node",
           event="relation"),
    public("flows", "src_ip text, src_port count, dst_ip text, dst_port count, bytes count", "src_ip > dst_ip",
           "ip ip"),
    public("money laundering", "Timestamp dates, From Bank of=1|2|3, From Account hash, To Bank of=1|2|3, "
           "To Account hash, Amount Paid price", "From Account > To Account", "account account", timestamp="Timestamp"),
    public("dating", "UserID id, ProfileID id, Rating stars", "UserID > ProfileID", "user profile", weight="Rating"),
    public("library", "checkout_date date, borrower_number id, book_barcode big", "borrower_number > book_barcode",
           "borrower book", timestamp="checkout_date"),
    public("streamers", "user text=u, streamer text=s, minutes count", "user > streamer", "user streamer"),
    public("douban", "UserId id, MovieId id2, Rating stars, Date date", "UserId > MovieId", "user movie",
           weight="Rating", timestamp="Date"),
    public("ciao", "userid id, productid id2, categoryid id2, rating stars, helpfulness zeros", "userid > "
           "productid", "user product", weight="rating"),
    public("epinions trust", "truster id, trustee id", "truster > trustee", "node node"),
    public("epinions trust2", "trustor_id id, trustee_id id, value of=1|-1, date date", "trustor_id > "
           "trustee_id", "node node", timestamp="date"),
    public("jester", "joke_id id2, user_id id, Rating signed", "user_id > joke_id", "user joke"),
    public("food.com", "user_id big, recipe_id big, date date, rating zeros, u id, i id2", "user_id > "
           "recipe_id", "user recipe", timestamp="date"),
    public("steam reviews", "app_id big, review_id unique, author.steamid big, recommended of=True|False, "
           "timestamp_created s", "author.steamid > app_id", "author_steam app", timestamp="timestamp_created",
           unit="s"),
    public("google local", "user_id hash, name name, time ms, rating stars, text long, gmap_id text", "user_id "
           "> gmap_id", "user gmap", weight="rating", timestamp="time", unit="ms"),
    public("criteo attribution", "timestamp count, uid id, campaign big, conversion of=0|1, click of=0|1, cost "
           "ratio", "uid > campaign", "uid campaign"),
    public("ali ccp", "click of=0|1, user id, adgroup_id big, time_stamp s, pid text, nonclk of=0|1", "user > "
           "adgroup_id", "user adgroup", timestamp="time_stamp", unit="s"),
    public("tenrec", "user_id id, item_id big, click of=0|1, follow of=0|1, like of=0|1, watching_times count, "
           "gender of=0|1|2, age of=1|2", "user_id > item_id", "user item", weight="watching_times"),
    public("mind flattened", "impression_id row, user_id text=U, news_id text=N, clicked of=0|1, time us",
           "user_id > news_id", "user news", timestamp="time"),
    public("lfm2b", "user_id id, track_id big, album_id big, timestamp dates", "user_id > track_id", "user "
           "track", timestamp="timestamp"),
    public("patents", "CITING big, CITED big", "CITING > CITED", "node node"),
    public("hn", "story_id big, commenter text=c, score count", "commenter > story_id", "commenter story",
           weight="score"),
    public("npm", "package text=p, dependency text=p, version text", "package > dependency", "package package"),
    public("imports", "Importer text=p, Imported text=p", "Importer > Imported", "node node"),
    public("mooc", "USERID id, TARGETID id2, TIMESTAMP count", "USERID > TARGETID", "user target"),
    public("wikipedia edits", "user_id id, page_id id2, ts s, comma_separated ratio", "user_id > page_id",
           "user page", timestamp="ts", unit="s"),
    public("gtfs", "from_stop_id text=s, to_stop_id text=s, min_transfer_time count", "from_stop_id > "
           "to_stop_id", "stop stop"),
    public("french", "date date, id_client id, ref_produit text=r, quantité count, prix price", "id_client > "
           "ref_produit", "client produit", weight="quantité", timestamp="date"),
    public("italian", "data date, codice_utente id, codice_articolo id2, voto stars", "codice_utente > "
           "codice_articolo", "codice_utente codice_articolo", weight="voto", timestamp="data"),
    public("dutch", "klantnummer id, artikelnummer id2, aantal count", "klantnummer > artikelnummer", "klant "
           "artikel", weight="aantal"),
    public("olist joined", "order_id hash, customer_unique_id hash, product_id hash, review_score stars, "
           "order_purchase_timestamp dates", "customer_unique_id > product_id", "customer product",
           weight="review_score", timestamp="order_purchase_timestamp"),
    public("hubspot", "id unique, contact_id id, company_id id2, created_at iso", "contact_id > company_id",
           "contact company", timestamp="created_at"),
    public("camel", "viewerId id, showId id2, watchedAt iso, durationSec count", "viewerId > showId", "viewer "
           "show", timestamp="watchedAt"),
    public("PascalCase", "MemberID id, PlaylistID id2, TrackID big, AddedOn date", "MemberID > TrackID",
           "member track", timestamp="AddedOn"),
    public("rowguid", "row_id row, SubjectID id, DrugID id2, Dose price", "SubjectID > DrugID", "subject drug"),
    public("follow", "user id, follows id", "user > follows", "user user"),
    public("messages", "msg_id unique, sender_id id, receiver_id id, sent_ts ms", "sender_id > receiver_id",
           "node node", timestamp="sent_ts", unit="ms"),
    public("payments", "txn_id unique, payer_account id, payee_account id, amount count, currency of=EUR|USD, "
           "booked date", "payer_account > payee_account", "account account", weight="amount", timestamp="booked"),
    public("payments2", "transaction_id unique, sender_account id, receiver_account id, amount price, timestamp "
           "iso", "sender_account > receiver_account", "account account", weight="amount", timestamp="timestamp"),
    public("calls2", "calling_number big, called_number big, call_date date, duration_s count", "calling_number "
           "> called_number", "node node", timestamp="call_date"),
    public("sessions only", "session_id id, url text=u, ts s", "session_id > url", "session url",
           timestamp="ts", unit="s"),
    public("search", "query name, url text=u, click_count count, session id", "session > url", "session url",
           weight="click_count"),
    public("snowplow", "event_id unique, collector_tstamp dates, domain_userid hash, page_url text=u, event "
           "of=page_view|ping", "domain_userid > page_url", "domain_user page_url",
           timestamp="collector_tstamp", event="event"),
    public("customer_no", "Customer No. id, Item No. id2, Qty. count, Posting Date date", "Customer No. > Item "
           "No.", "customer item", weight="Qty.", timestamp="Posting Date"),
    public("cust_nr", "CUST_NBR id, PROD_NBR id2, TRAN_DT date, UNITS count", "CUST_NBR > PROD_NBR", "cust "
           "prod", timestamp="TRAN_DT"),
    public("hh", "hh_id id, upc big, week of=1|2|3, spend price", "hh_id > upc", "hh upc"),
    public("ratings v2", "raterAccountId id, ratedItemId id2, stars stars, ratedAt iso", "raterAccountId > "
           "ratedItemId", "rater_account rated_item", weight="stars", timestamp="ratedAt"),
    public("msd", "user hash, song text=SO, play_count count", "user > song", "user song", weight="play_count"),
    public("delicious", "userID id, bookmarkID id2, tagID id2, day stars, month stars, year of=2009|2010, hour "
           "zeros", "userID > bookmarkID", "user bookmark"),
    public("brightkite", "user id, check_in_time iso, latitude price, longitude price, location_id hash", "user "
           "> location_id", "user location", timestamp="check_in_time"),
    public("pinterest", "user_id id, pin_id big, board_id big, pinned_at iso", "user_id > pin_id", "user pin",
           timestamp="pinned_at"),
    public("taobao ads", "user id, time_stamp s, pid text=p, nonclk of=0|1, clk of=0|1, adgroup_id big", "user "
           "> adgroup_id", "user adgroup", timestamp="time_stamp", unit="s"),
    public("criteo", "timestamp count, uid id, campaign big, conversion of=0|1", "uid > campaign", "uid campaign"),
    public("ipinyou", "bid_id unique, timestamp count, ipinyou_id hash, user_agent of=a|b, ip text, region "
           "of=1|2, creative_id hash", "ipinyou_id > creative_id", "ipinyou creative"),
    public("dressipi", "session_id id, item_id id2, date dates", "session_id > item_id", "session item",
           timestamp="date"),
    public("rental", "order_no unique, customer_no id, article_no id2, rented_from date, rented_to date",
           "customer_no > article_no", "customer article", timestamp="rented_from"),
    public("hospital", "patient_id id, provider_id id2, visit_date date, visit_id unique", "patient_id > "
           "provider_id", "patient provider", timestamp="visit_date"),
    public("moodle", "userid id, courseid id2, timecreated s, action of=viewed|created, component of=a|b, "
           "objectid mostly", "userid > courseid", "user course", timestamp="timecreated", unit="s", event="action"),
    public("slack", "from_user text=U, to_user text=U, channel text=C, ts s", "from_user > to_user", "user "
           "user", timestamp="ts", unit="s"),
    public("ledger", "debit_account big, credit_account big, amount count, value_date date", "debit_account > "
           "credit_account", "account account", weight="amount", timestamp="value_date"),
    public("transfers", "sender_iban text=DE, receiver_iban text=DE, amount price, booking_date date",
           "sender_iban > receiver_iban", "iban iban", weight="amount", timestamp="booking_date"),
    public("cdr", "a_number big, b_number big, call_start dates, duration count", "a_number > b_number", "node "
           "node", timestamp="call_start"),
    public("airline", "src_airport text=A, dst_airport text=A, airline text=L, equipment text", "src_airport > "
           "dst_airport", "airport airport"),
    public("wiki clickstream", "prev text=Page, curr text=Page, type of=link|other, n count", "prev > curr",
           "node node", weight="n", event="type"),
    public("links", "source_url text=u, target_url text=u, anchor name", "source_url > target_url", "url url"),
    public("github2", "actor_login text=a, repo_name text=r, type of=WatchEvent|PushEvent, created_at iso",
           "actor_login > repo_name", "actor_login repo", timestamp="created_at", event="type"),
    public("pypi", "project text=p, requires text=p, extra text", "project > requires", "project project"),
    public("bank es", "id_cuenta_origen big, id_cuenta_destino big, importe price, fecha date",
           "id_cuenta_origen > id_cuenta_destino", "cuenta cuenta", timestamp="fecha"),
    public("fr", "num_client id, num_article id2, qte count, date_achat date", "num_client > num_article",
           "client article", timestamp="date_achat"),
    public("zalando", "kundenId id, produktId id2, bestelldatum date, bewertung stars", "kundenId > produktId",
           "kunden produkt", weight="bewertung", timestamp="bestelldatum"),
    public("pl", "id_klienta id, id_produktu id2, data date, ilosc count", "id_klienta > id_produktu", "klienta "
           "produktu", weight="ilosc", timestamp="data"),
    public("cols", "col_user id, col_item id2, col_rating stars, col_timestamp s", "col_user > col_item",
           "col_user col_item", weight="col_rating", timestamp="col_timestamp", unit="s"),
    public("iid", "uid id, iid id2, r stars, t s", "uid > iid", "uid iid", timestamp="t", unit="s"),
    public("u,i", "u id, i id2, rating stars, ts s", "u > i", "u i", weight="rating", timestamp="ts", unit="s"),
    public("bigquery", "fullVisitorId big, visitId s, productSKU text=G, hits count, visitStartTime s",
           "fullVisitorId > productSKU", "full_visitor product_sku", timestamp="visitStartTime", unit="s"),
    public("matomo", "idvisitor hash, idvisit id, idaction_url id2, server_time dates", "idvisitor > "
           "idaction_url", "visitor idaction_url", timestamp="server_time"),
    # Not seen when the rules above were made.
    public("kuairand", "user_id id, video_id id2, date of=20220401|20220402, hourmin of=1300|1400, time_ms ms, "
           "is_click of=0|1, play_time_ms count", "user_id > video_id", "user video", timestamp="time_ms", unit="ms"),
    public("ga4", "event_date of=20210701|20210702, event_timestamp ms, event_name of=view_item|purchase, "
           "user_pseudo_id hash, ga_session_id s, item_id text=GGOE", "user_pseudo_id > item_id", "user item",
           timestamp="event_timestamp", unit="ms", event="event_name"),
    public("reddit", "id unique, author name, subreddit text=r, link_id text=t3, score signed, created_utc s, "
           "body long",
           "author > subreddit", "author subreddit", timestamp="created_utc", unit="s"),
    public("sepa", "Buchungstag date, Auftraggeber_IBAN text=DE, Empfaenger_IBAN text=DE, Waehrung of=EUR|USD",
           "Auftraggeber_IBAN > Empfaenger_IBAN", "iban iban", timestamp="Buchungstag"),
    public("mentions", "tweet_id unique, author_id id, mentioned_user_id id, created_at iso, lang of=en|de",
           "author_id > mentioned_user_id", "author author", timestamp="created_at"),
    public("recsys 2020", "tweet_id hash, engaged_with_user_id hash, engaging_user_id hash, engagement_timestamp s, "
           "engagement_type of=like|reply", "engaging_user_id > tweet_id", "engaging_user tweet",
           timestamp="engagement_timestamp", unit="s", event="engagement_type"),
    public("arxiv", "citing_paper price, cited_paper price", "citing_paper > cited_paper", "paper paper"),
    public("pollination", "plant text=p, pollinator text=b, visits count", "pollinator > plant", "pollinator plant",
           weight="visits"),
    public("imdb principals", "tconst text=tt, ordering of=1|2|3|4, nconst text=nm, category of=actor|director",
           "tconst > nconst", "tconst nconst"),
    public("expedia", "date_time dates, site_name of=2|3|4, user_location_country id, user_id id, channel of=0|1|9, "
           "srch_destination_id big, is_booking of=0|1, cnt stars, hotel_market id2", "user_id > srch_destination_id",
           "user srch_destination", weight="cnt", timestamp="date_time"),
    public("trivago", "user_id id, session_id hash, timestamp s, step count, action_type of=view|clickout, "
           "reference big, platform of=BR|US", "user_id > reference", "user reference", timestamp="timestamp",
           unit="s", event="action_type", unused="session_id:took place"),
    public("chess", "id unique, created_at ms, turns count, winner of=white|black, white_id text=p, white_rating big, "
           "black_id text=p, black_rating big", "white_id > black_id", "node node", timestamp="created_at", unit="ms"),
    public("clickstream", "previous text=Page, current text=Page, n count", "previous > current", "node node",
           weight="n"),
    public("oulad", "code_module of=AAA|BBB, code_presentation of=2013J|2014J, id_student id, id_site id2, "
           "date signed, sum_click count", "id_student > id_site", "student site", weight="sum_click"),
    public("spanish events", "usuario_id id, producto_id id2, evento of=vista|compra, fecha dates",
           "usuario_id > producto_id", "usuario producto", timestamp="fecha", event="evento"),
    public("chinese", "用户ID id, 商品ID id2, 行为类型 of=点击|购买, 时间戳 s", "用户ID > 商品ID", "用户 商品",
           timestamp="时间戳", unit="s", event="行为类型"),
    public("korean", "사용자ID id, 상품ID id2, 평점 stars, 시간 s", "사용자ID > 상품ID", "사용자 상품", weight="평점",
           timestamp="시간", unit="s"),
    public("star schema", "fct_order_line_key unique, dim_customer_key id, dim_product_key id2, order_qty count, "
           "dim_date_key of=20210401|20210518, etl_loaded_at dates", "dim_customer_key > dim_product_key",
           "dim_customer dim_product", weight="order_qty", timestamp="dim_date_key"),
    public("shopify", "Name text=#, Email text=m@, Created at dates, Lineitem quantity stars, Lineitem sku text=SKU",
           "Email > Lineitem sku", "email lineitem_sku", weight="Lineitem quantity", timestamp="Created at"),
    public("camel", "eventId unique, visitorId hash, contentId hash, eventName of=view|share, eventTimeMs ms, "
           "sessionId hash", "visitorId > contentId", "visitor content", timestamp="eventTimeMs", unit="ms",
           event="eventName"),
    public("channels", "message_id unique, sender_id text=U, channel_id text=C, reply_count zeros",
           "sender_id > channel_id", "sender channel"),
    public("ebay bids", "bid_id unique, bidder_id hash, auction text=a, device text=phone, country of=us|in, "
           "url text=u",
           "bidder_id > auction", "bidder auction"),
    public("taxi", "VendorID of=1|2, pickup_datetime dates, PULocationID id, DOLocationID id, fare_amount price",
           "PULocationID > DOLocationID", "location location", weight="fare_amount", timestamp="pickup_datetime"),
    public("elo", "authorized_flag of=Y|N, card_id hash, category_1 of=N|Y, category_2 of=1|2|3, merchant_id hash, "
           "subsector_id id, purchase_date dates", "card_id > merchant_id", "card merchant", timestamp="purchase_date"),
    public("plista", "publisher_id of=1|2|3, cookie_id big, item_id id, created_at ms", "cookie_id > item_id",
           "cookie item", timestamp="created_at", unit="ms"),
    public("job matching", "candidate_id id, vacancy_id id2, applied of=0|1, match_score ratio",
           "candidate_id > vacancy_id", "candidate vacancy", weight="match_score"),
    public("anime reviews", "uid unique, profile text=p, anime_uid id2, score stars", "profile > anime_uid",
           "profile anime", weight="score"),
    public("git log", "commit_hash unique, author_email text=m@, file_path text=src, committed_date iso",
           "author_email > file_path", "author_email file_path", timestamp="committed_date"),
    public("ads", "impression_id unique, device_ifa hash, creative_id id, campaign_id id2, impression_time_ms ms",
           "device_ifa > creative_id", "device creative", timestamp="impression_time_ms", unit="ms"),
    public("tickets", "issue_key unique, assignee text=p, component text=c, created dates", "assignee > component",
           "assignee component", timestamp="created"),
    public("eventos", "id_cliente id, id_produto id2, tipo_evento of=clique|compra, data_hora dates",
           "id_cliente > id_produto", "cliente produto", timestamp="data_hora", event="tipo_evento"),
    public("ereignisse", "Nutzer-ID id, Artikel-ID id2, Ereignis of=Ansicht|Kauf, Zeitstempel ms",
           "Nutzer-ID > Artikel-ID", "nutzer artikel", timestamp="Zeitstempel", unit="ms", event="Ereignis"),
    public("trade", "Year of=2019|2020, Reporter ISO text=c, Partner ISO text=c, Commodity Code id2",
           "Reporter ISO > Partner ISO", "node node"),
]
# fmt: on
