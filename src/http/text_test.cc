#include "http/text.h"

#include <gtest/gtest.h>

#include "http/chunked.h"
#include "http/message.h"
#include "http/range.h"

namespace hansa::http {
namespace {

using List = std::vector<ByteRange>;

TEST(Path, IsSplitBeforeItIsDecodedSoThatAnEncodedSlashIsNoSeparator) {
  EXPECT_EQ(*split_path("/v2/"), (std::vector<std::string>{"v2", ""}));
  EXPECT_EQ(*split_path("/"), (std::vector<std::string>{""}));
  EXPECT_EQ(*split_path("/v2/a%2Fb/sha256%3Aab"), (std::vector<std::string>{"v2", "a/b", "sha256:ab"}));
}

TEST(Path, BrokenEscapesAreRefused) {
  for (const char* path : {"/%", "/%2", "/%zz", "/a%0", "/%00", "/%2/"}) EXPECT_FALSE(split_path(path)) << path;
  EXPECT_TRUE(split_path("/%7f%41"));
}

TEST(Query, KeepsOrderPlusSignsAndRepeatedNames) {
  const auto query = Query::parse("tag=a+b&tag=c%26d&&empty&n=");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->get("tag"), "a+b");
  EXPECT_EQ(query->all("tag"), (std::vector<std::string_view>{"a+b", "c&d"}));
  EXPECT_EQ(query->get("empty"), "");
  EXPECT_EQ(query->get("n"), "");
  EXPECT_FALSE(query->has("x"));
  EXPECT_FALSE(Query::parse("a=%G0"));
}

TEST(Headers, AreFoundWithoutCaseAndSetReplacesAll) {
  Headers headers;
  headers.add("Accept", "a");
  headers.add("ACCEPT", "b");
  EXPECT_EQ(headers.get("accept"), "a");
  EXPECT_EQ(headers.all("Accept").size(), 2u);
  headers.set("accept", "c");
  EXPECT_EQ(headers.all("Accept"), (std::vector<std::string_view>{"c"}));
}

TEST(Text, DatesHaveTheFormOfTheStandard) {
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(Text, DecimalNumbersAreDigitsThatFit) {
  EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"}) {
    EXPECT_FALSE(parse_decimal(text)) << text;
  }
}

TEST(Range, OneSpecificationOfEachForm) {
  EXPECT_EQ(parse_ranges("bytes=0-0", 10).list, (List{{0, 1}}));
  EXPECT_EQ(parse_ranges("bytes=2-", 10).list, (List{{2, 8}}));
  EXPECT_EQ(parse_ranges("bytes=-3", 10).list, (List{{7, 3}}));
  EXPECT_EQ(parse_ranges("bytes=-30", 10).list, (List{{0, 10}}));
  EXPECT_EQ(parse_ranges("BYTES= 5-99 ", 10).list, (List{{5, 5}}));
  EXPECT_EQ(parse_ranges("bytes=0-18446744073709551615", 10).list, (List{{0, 10}}));
}

TEST(Range, MalformedOrUnknownFieldsAreIgnored) {
  for (const char* field : {"", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=3-1", "bytes=1",
                            "items=0-1", "bytes=0-1,x", "bytes=1-2-3", "bytes=+1-2", "bytes=0-99999999999999999999"}) {
    EXPECT_EQ(parse_ranges(field, 10).outcome, RangeOutcome::none) << field;
  }
}

TEST(Range, WhatLiesOutsideIsUnsatisfiableUnlessSomethingElseExists) {
  EXPECT_EQ(parse_ranges("bytes=10-", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_ranges("bytes=-0", 10).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_ranges("bytes=0-", 0).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_ranges("bytes=-5", 0).outcome, RangeOutcome::unsatisfiable);
  EXPECT_EQ(parse_ranges("bytes=20-30,1-2", 10).list, (List{{1, 2}}));
}

TEST(Range, OverlappingAndTouchingOnesAreMergedInTheOrderAskedFor) {
  EXPECT_EQ(parse_ranges("bytes=0-1,2-3", 10).list, (List{{0, 4}}));
  EXPECT_EQ(parse_ranges("bytes=8-9,0-1,1-4", 10).list, (List{{8, 2}, {0, 5}}));
  EXPECT_EQ(parse_ranges("bytes=0-1,6-7,3-4,0-9", 10).list, (List{{0, 10}}));
  EXPECT_EQ(parse_ranges("bytes=0-1,4-5,2-3", 10).list, (List{{0, 6}}));
}

TEST(Range, TooManySpecificationsAreIgnored) {
  std::string field = "bytes=0-0";
  for (std::size_t i = 1; i < max_ranges; ++i) field += "," + std::to_string(i * 10) + "-" + std::to_string(i * 10);
  EXPECT_EQ(parse_ranges(field, 1000).list.size(), max_ranges);
  EXPECT_EQ(parse_ranges(field + ",900-901", 1000).outcome, RangeOutcome::none);
}

// Decodes a whole body given in pieces of `step` bytes; nullopt: refused. Bytes after the end stay in `rest`.
std::optional<std::string> decode(std::string_view text, std::size_t step, std::string* rest = nullptr) {
  ChunkDecoder decoder;
  std::string body;
  std::size_t available = 0;
  while (!decoder.finished()) {
    if (available == 0) {
      if (text.empty()) return std::nullopt;
      available = std::min(step, text.size());
    }
    if (decoder.data_left() > 0) {
      const std::size_t taken = std::min<std::uint64_t>(available, decoder.data_left());
      body += text.substr(0, taken);
      decoder.took(taken);
      text.remove_prefix(taken);
      available -= taken;
      continue;
    }
    const auto used = decoder.take_framing(text.substr(0, available));
    if (!used) return std::nullopt;
    text.remove_prefix(*used);
    available -= *used;
  }
  if (rest != nullptr) *rest = text;
  return body;
}

TEST(Chunked, DecodesHoweverTheBytesArrive) {
  const std::string text = "5\r\nhello\r\nA;name=\"v\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nNEXT";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    std::string rest;
    EXPECT_EQ(decode(text, step, &rest), "hello0123456789") << step;
    EXPECT_EQ(rest, "NEXT") << step;
  }
}

TEST(Chunked, AnythingOutOfFormIsRefused) {
  for (const std::string text :
       {"\r\n", "x\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloX\r\n", "-1\r\n",
        "0x5\r\nhello\r\n", "5\r\nhello\n0\r\n\r\n", "0\r\nT: x\n\r\n", "0\r\n\n", "5;a\x01\r\n",
        "1000000000000000\r\n", " 5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n"}) {
    EXPECT_FALSE(decode(text, 1)) << text;
  }
}

TEST(Chunked, ExtensionsAndTrailersAreBounded) {
  EXPECT_TRUE(decode("0;" + std::string(900, 'x') + "\r\n\r\n", 100));
  EXPECT_FALSE(decode("0;" + std::string(max_chunk_line, 'x') + "\r\n\r\n", 100));
  EXPECT_TRUE(decode("0\r\na: " + std::string(8000, 'x') + "\r\n\r\n", 100));
  EXPECT_FALSE(decode("0\r\na: " + std::string(max_trailer_bytes, 'x') + "\r\n\r\n", 100));
}

}  // namespace
}  // namespace hansa::http
