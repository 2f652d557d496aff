//! The queries of the suite: Nexmark's, as Millstream's SQL and as batch SQL of DataFusion.
//!
//! Where Nexmark's text needs something that a stream here cannot say, the query beside it gives the
//! same rows another way, or its difference is written down; `README.md` lists both.

use millstream::OutputMode;

/// A table of the suite, as Millstream declares it.
const BIDS: &str = "CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING,
    url STRING, date_time TIMESTAMP, extra STRING,
    WATERMARK FOR date_time AS date_time - INTERVAL '10' SECOND)
    WITH (connector = 'file', format = 'json', path = '{dir}/bids')";

const WORDS: &str = "CREATE TABLE words (value STRING) WITH (connector = 'file', format = 'text', path = '{dir}/words')";

const LINES: &str = "CREATE TABLE lines (value STRING) WITH (connector = 'file', format = 'text', path = '{dir}/lines')";

/// A query in both languages.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: &'static str,
    /// `CREATE TABLE` of its input, with `{dir}` for the data's directory.
    pub(crate) table: &'static str,
    /// The streaming query.
    pub(crate) sql: &'static str,
    pub(crate) mode: OutputMode,
    /// The same rows as a batch; `{mark}` is the last watermark, since windows that it does not
    /// reach are not in the stream's result.
    pub(crate) batch: &'static str,
}

/// Numbers of bids: all, and by class of price.
macro_rules! bids_by_rank {
    () => {
        "count(*) AS total_bids,
         count(*) FILTER (WHERE price < 10000) AS rank1_bids,
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
         count(*) FILTER (WHERE price >= 1000000) AS rank3_bids"
    };
}

/// Numbers of different bidders and auctions: all, and by class of price.
macro_rules! distinct_by_rank {
    () => {
        "count(DISTINCT bidder) AS total_bidders,
         count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
         count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
         count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
         count(DISTINCT auction) AS total_auctions,
         count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
         count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
         count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions"
    };
}

macro_rules! prices {
    () => {
        "min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price"
    };
}

/// Bids by sliding window and auction, counted by panes of two seconds first.
macro_rules! sliding_batch {
    () => {
        "(SELECT pane - slide AS start, pane - slide + INTERVAL '10 seconds' AS stop,
                 auction, sum(bids) AS bids
          FROM (SELECT date_bin(INTERVAL '2 seconds', date_time) AS pane, auction, count(*) AS bids
                FROM bids GROUP BY 1, 2)
          CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
                             (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS slides(slide)
          GROUP BY 1, 2, 3)"
    };
}

/// All queries, in the order in which they run.
pub(crate) const SUITE: [Query; 14] = [
    Query {
        name: "w1",
        table: WORDS,
        sql: "SELECT value, count(*) AS n FROM words GROUP BY value",
        mode: OutputMode::Update,
        batch: "SELECT value, count(*) AS n FROM words GROUP BY value",
    },
    Query {
        name: "w1s",
        table: LINES,
        sql: "SELECT word, count(*) AS n FROM (SELECT explode(split(value, ' ')) AS word FROM lines)
              GROUP BY word",
        mode: OutputMode::Update,
        batch: "SELECT word, count(*) AS n
                FROM (SELECT unnest(string_to_array(value, ' ')) AS word FROM lines) GROUP BY word",
    },
    Query {
        name: "w2",
        table: BIDS,
        sql: "SELECT window.start, window.end, auction, count(*) AS bids FROM bids
              GROUP BY window(date_time, '10 seconds'), auction",
        mode: OutputMode::Append,
        batch: "SELECT start, start + INTERVAL '10 seconds' AS stop, auction, bids FROM (
                  SELECT date_bin(INTERVAL '10 seconds', date_time) AS start, auction, count(*) AS bids
                  FROM bids GROUP BY 1, 2)
                WHERE start + INTERVAL '10 seconds' <= {mark}",
    },
    Query {
        name: "w3",
        table: BIDS,
        sql: "SELECT w.start, w.end, max_by(auction, bids) AS auction, max(bids) AS bids FROM (
                SELECT window(date_time, '10 seconds', '2 seconds') AS w, auction, count(*) AS bids
                FROM bids GROUP BY window(date_time, '10 seconds', '2 seconds'), auction) GROUP BY w",
        mode: OutputMode::Append,
        batch: concat!(
            "SELECT start, stop, best['auction'] AS auction, best['bids'] AS bids FROM (
               SELECT start, stop, max(named_struct('bids', bids, 'auction', auction)) AS best FROM ",
            sliding_batch!(),
            " GROUP BY start, stop) WHERE stop <= {mark}"
        ),
    },
    Query {
        name: "q0",
        table: BIDS,
        sql: "SELECT auction, bidder, price, channel, url, date_time, extra FROM bids",
        mode: OutputMode::Append,
        batch: "SELECT auction, bidder, price, channel, url, date_time, extra FROM bids",
    },
    Query {
        name: "q1",
        table: BIDS,
        sql: "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bids",
        mode: OutputMode::Append,
        batch: "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bids",
    },
    Query {
        name: "q2",
        table: BIDS,
        sql: "SELECT auction, price FROM bids WHERE auction % 123 = 0",
        mode: OutputMode::Append,
        batch: "SELECT auction, price FROM bids WHERE auction % 123 = 0",
    },
    Query {
        name: "q5",
        table: BIDS,
        sql: "SELECT start, stop, explode(auctions) AS auction, bids FROM (
                SELECT w.start AS start, w.end AS stop,
                       max_by(auctions, bids) AS auctions, max(bids) AS bids FROM (
                  SELECT w, bids, array_agg(auction) AS auctions FROM (
                    SELECT window(date_time, '10 seconds', '2 seconds') AS w, auction, count(*) AS bids
                    FROM bids GROUP BY window(date_time, '10 seconds', '2 seconds'), auction)
                  GROUP BY w, bids)
                GROUP BY w)",
        mode: OutputMode::Append,
        batch: concat!(
            "SELECT start, stop, auction, bids FROM (
               SELECT *, max(bids) OVER (PARTITION BY start) AS most FROM ",
            sliding_batch!(),
            " WHERE stop <= {mark}) WHERE bids = most"
        ),
    },
    Query {
        name: "q7",
        table: BIDS,
        sql: "SELECT window.start, window.end, max(price) AS price FROM bids
              GROUP BY window(date_time, '10 seconds')",
        mode: OutputMode::Append,
        batch: "SELECT start, start + INTERVAL '10 seconds' AS stop, price FROM (
                  SELECT date_bin(INTERVAL '10 seconds', date_time) AS start, max(price) AS price
                  FROM bids GROUP BY 1)
                WHERE start + INTERVAL '10 seconds' <= {mark}",
    },
    Query {
        name: "q11",
        table: BIDS,
        sql: "SELECT session_window.start, session_window.end, bidder, count(*) AS bids FROM bids
              GROUP BY session_window(date_time, '10 seconds'), bidder",
        mode: OutputMode::Append,
        batch: "SELECT start, stop, bidder, bids FROM (
                  SELECT min(date_time) AS start, max(date_time) + INTERVAL '10 seconds' AS stop, bidder,
                         session, count(*) AS bids
                  FROM (SELECT bidder, date_time,
                               sum(fresh) OVER (PARTITION BY bidder ORDER BY date_time) AS session
                        FROM (SELECT bidder, date_time,
                                     CASE WHEN date_time < INTERVAL '10 seconds'
                                            + lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time)
                                          THEN 0 ELSE 1 END AS fresh
                              FROM bids))
                  GROUP BY bidder, session)
                WHERE stop <= {mark}",
    },
    Query {
        name: "q12",
        table: BIDS,
        sql: "SELECT window.start, window.end, bidder, count(*) AS bids FROM bids
              GROUP BY window(date_time, '10 seconds'), bidder",
        mode: OutputMode::Append,
        batch: "SELECT start, start + INTERVAL '10 seconds' AS stop, bidder, bids FROM (
                  SELECT date_bin(INTERVAL '10 seconds', date_time) AS start, bidder, count(*) AS bids
                  FROM bids GROUP BY 1, 2)
                WHERE start + INTERVAL '10 seconds' <= {mark}",
    },
    Query {
        name: "q15",
        table: BIDS,
        sql: concat!(
            "SELECT date_format(date_time, 'yyyy-MM-dd') AS day, ",
            bids_by_rank!(),
            ", ",
            distinct_by_rank!(),
            " FROM bids GROUP BY date_format(date_time, 'yyyy-MM-dd')"
        ),
        mode: OutputMode::Changes,
        batch: concat!(
            "SELECT to_char(date_time, '%Y-%m-%d') AS day, ",
            bids_by_rank!(),
            ", ",
            distinct_by_rank!(),
            " FROM bids GROUP BY 1"
        ),
    },
    Query {
        name: "q16",
        table: BIDS,
        sql: concat!(
            "SELECT channel, date_format(date_time, 'yyyy-MM-dd') AS day,
                    max(date_format(date_time, 'HH:mm')) AS minute, ",
            bids_by_rank!(),
            ", ",
            distinct_by_rank!(),
            " FROM bids GROUP BY channel, date_format(date_time, 'yyyy-MM-dd')"
        ),
        mode: OutputMode::Changes,
        batch: concat!(
            "SELECT channel, to_char(date_time, '%Y-%m-%d') AS day,
                    max(to_char(date_time, '%H:%M')) AS minute, ",
            bids_by_rank!(),
            ", ",
            distinct_by_rank!(),
            " FROM bids GROUP BY 1, 2"
        ),
    },
    Query {
        name: "q17",
        table: BIDS,
        sql: concat!(
            "SELECT auction, date_format(date_time, 'yyyy-MM-dd') AS day, ",
            bids_by_rank!(),
            ", ",
            prices!(),
            " FROM bids GROUP BY auction, date_format(date_time, 'yyyy-MM-dd')"
        ),
        mode: OutputMode::Update,
        batch: concat!(
            "SELECT auction, to_char(date_time, '%Y-%m-%d') AS day, ",
            bids_by_rank!(),
            ", ",
            prices!(),
            " FROM bids GROUP BY 1, 2"
        ),
    },
];

/// The command `queries`: one JSON line a query, for programs that run the same texts elsewhere.
pub(crate) fn print(print: &mut dyn FnMut(String)) {
    for query in &SUITE {
        let input = match query.table {
            WORDS => "words",
            LINES => "lines",
            _ => "bids",
        };
        let line = serde_json::json!({
            "query": query.name,
            "input": input,
            "table": query.table,
            "mode": query.mode.to_string(),
            "sql": query.sql,
        });
        print(line.to_string());
    }
}

/// Whether a query reads text and not bids.
pub(crate) fn is_of_words(name: &str) -> bool {
    find(name).is_some_and(|query| query.table != BIDS)
}

/// The query of a name.
pub(crate) fn find(name: &str) -> Option<&'static Query> {
    SUITE.iter().find(|query| query.name == name)
}
