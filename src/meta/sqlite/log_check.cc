#include "meta/sqlite/log_check.h"

#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "meta/sqlite/vfs.h"

namespace hansa::meta::sqlite {
namespace {

constexpr std::size_t header_bytes = 32;
constexpr std::string_view empty_mark = "hansa: nothing of this is needed";  // in the place of the header
static_assert(empty_mark.size() == header_bytes);
constexpr std::size_t frame_header_bytes = 24;
constexpr std::size_t frame_bytes = frame_header_bytes + page_size;
constexpr std::size_t sector = 512;  // what a disk writes whole or not at all

// Also where an error cut the write of the mark, after one byte at least. No bit that flips makes this of a header.
bool mark_was_begun(ConstBytes header) {
  constexpr std::array<unsigned char, 3> magic = {0x37, 0x7f, 0x06};  // what a log begins with, and then 0x82 or 0x83
  bool marked = true;
  for (std::size_t at = 0; at < magic.size(); ++at) {
    const auto byte = std::to_integer<unsigned char>(header[at]);
    marked = marked && byte == static_cast<unsigned char>(empty_mark[at]);
    if (!marked && (at == 0 || byte != magic[at])) return false;
  }
  return true;
}

struct Sum {
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  bool operator==(const Sum&) const = default;
};

// Over words in the order of the machine's bytes, as SQLite sums where it writes.
Sum add(Sum sum, ConstBytes bytes) {
  std::array<std::uint32_t, 2> words{};
  for (std::size_t at = 0; at + sizeof(words) <= bytes.size(); at += sizeof(words)) {
    std::memcpy(words.data(), bytes.data() + at, sizeof(words));
    sum.a += words[0] + sum.b;
    sum.b += words[1] + sum.a;
  }
  return sum;
}

// Stored numbers are big-endian, sums too.
std::uint32_t number_at(ConstBytes bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (const std::byte one : bytes.subspan(at, 4)) out = out << 8U | std::to_integer<std::uint32_t>(one);
  return out;
}

Sum two_at(ConstBytes bytes, std::size_t at) {
  return {.a = number_at(bytes, at), .b = number_at(bytes, at + 4)};
}

struct Frame {
  std::uint32_t page = 0;  // counted from 1
  bool commit = false;
  Sum salts;
  Sum stored;
  std::uint64_t offset = 0;

  // Its header may be half an older one if a power cut tore it there.
  bool may_be_torn() const { return offset / sector != (offset + frame_header_bytes - 1) / sector; }
};

Frame frame_of(ConstBytes bytes, std::uint64_t offset) {
  return {.page = number_at(bytes, 0),
          .commit = number_at(bytes, 4) != 0,
          .salts = two_at(bytes, 8),
          .stored = two_at(bytes, 16),
          .offset = offset};
}

Sum sum_of(Sum before, ConstBytes frame) {
  return add(add(before, frame.first(8)), frame.subspan(frame_header_bytes));
}

Error damaged(const std::string& path, std::uint64_t offset) {
  return make_error(ErrorCode::corrupt, Subject::file,
                    path + " is damaged at byte " + std::to_string(offset) +
                        ", and commits that were acknowledged come after it. Restore the folder from a backup; or, to "
                        "go on without them, keep a copy of the folder and run: truncate -s " +
                        std::to_string(offset) + " " + path);
}

// What the frames so far say.
class Walk {
 public:
  explicit Walk(ConstBytes header) : salts_(two_at(header, 16)) {
    const Sum own = add({}, header.first(24));
    const Sum stored = two_at(header, 24);
    before_ = {own, stored};
    if (own == stored) return;
    // Whichever of the two is the flipped one, the first frame was summed from the other; its salts are the header's.
    misfit_ = 0;
    salts_known_ = false;
  }

  // Whether something that was acknowledged is damaged, now that this frame was seen.
  bool take(ConstBytes bytes, std::uint64_t offset) {
    const Frame frame = frame_of(bytes, offset);
    if (!salts_known_) salts_ = frame.salts;
    salts_known_ = true;
    const bool salted = frame.salts == salts_;
    const Sum own = sum_of(before_.front(), bytes);
    const bool one = before_.front() == before_.back();
    const bool follows = salted && (own == frame.stored || (!one && sum_of(before_.back(), bytes) == frame.stored));
    if (misfit_ && follows && after_commit_) return true;
    before_ = {frame.stored, frame.stored};
    if (!misfit_ && !follows) {
      misfit_ = offset;
      before_.front() = own;  // the next one was summed from what this one should say, or from what it says
    }
    after_commit_ = frame.commit && salted && !frame.may_be_torn();
    return false;
  }

  // Offset of the first that does not follow; 0: the log's header.
  const std::optional<std::uint64_t>& misfit() const { return misfit_; }

 private:
  Sum salts_;
  bool salts_known_ = true;
  std::array<Sum, 2> before_;  // what the next frame may have been summed from
  std::optional<std::uint64_t> misfit_;
  bool after_commit_ = false;  // the last frame ended a transaction
};

// The frames of a log whose header tells nothing: those whose salts are the first one's.
class Pages {
 public:
  void take(const Frame& frame) {
    if (!salts_) salts_ = frame.salts;
    if (frame.salts != *salts_) {
      ended_ = true;
      return;
    }
    if (ended_) scattered_ = true;
    open_[frame.page] = frame.offset;
    if (!frame.commit) return;
    for (const auto& [page, offset] : open_) last_[page] = offset;
    open_.clear();
  }

  // What an older log left follows on this one's frames; where it lies between them, one of them is damaged.
  bool scattered() const { return scattered_; }
  // Offsets of the frames that the last commit made valid, by page.
  const std::map<std::uint32_t, std::uint64_t>& last() const { return last_; }

 private:
  std::optional<Sum> salts_;
  std::map<std::uint32_t, std::uint64_t> open_;  // of a transaction whose commit was not seen yet
  std::map<std::uint32_t, std::uint64_t> last_;
  bool ended_ = false;
  bool scattered_ = false;
};

// Whether the database has what the log says of each page. Its pages end in a checksum of their own (vfs.h).
Result<bool> is_copied(io::File& log, io::File& database) {
  std::vector<std::byte> bytes(frame_bytes);
  Pages pages;
  for (std::uint64_t offset = header_bytes;; offset += frame_bytes) {
    HANSA_TRY(const std::size_t got, log.read(offset, bytes));
    if (got < frame_bytes) break;
    pages.take(frame_of(bytes, offset));
  }
  if (pages.scattered()) return false;
  std::vector<std::byte> stored(page_size);
  for (const auto& [page, offset] : pages.last()) {
    if (page == 0) return false;
    HANSA_TRY(const std::size_t of_log, log.read(offset + frame_header_bytes, Bytes(bytes).first(page_size)));
    HANSA_TRY(const std::size_t of_database, database.read(std::uint64_t{page - 1} * page_size, stored));
    if (of_log != page_size || of_database != page_size) return false;
    if (std::memcmp(bytes.data(), stored.data(), page_size - page_reserve) != 0) return false;
  }
  return true;
}

}  // namespace

Result<LogUse> check_log(io::File& log, io::File& database, const std::string& path) {
  std::vector<std::byte> bytes(frame_bytes);
  HANSA_TRY(const std::size_t head, log.read(0, Bytes(bytes).first(header_bytes)));
  if (head < header_bytes) return LogUse::read;
  if (mark_was_begun(ConstBytes(bytes).first(header_bytes))) return LogUse::empty;
  Walk walk(ConstBytes(bytes).first(header_bytes));
  const bool header_fits = !walk.misfit();
  for (std::uint64_t offset = header_bytes;; offset += frame_bytes) {
    HANSA_TRY(const std::size_t got, log.read(offset, bytes));
    if (got < frame_bytes) break;
    if (!walk.take(bytes, offset)) continue;
    if (header_fits) return damaged(path, *walk.misfit());
    HANSA_TRY(const bool copied, is_copied(log, database));
    if (!copied) return damaged(path, *walk.misfit());
    break;
  }
  return header_fits ? LogUse::read : LogUse::empty;
}

Result<void> empty_log(io::File& log) {
  HANSA_TRY(const std::uint64_t size, log.size());
  if (size >= header_bytes) {
    HANSA_CHECK(log.write(0, std::as_bytes(std::span(empty_mark))));
    HANSA_CHECK(log.sync());
  }
  return log.truncate(0);
}

}  // namespace hansa::meta::sqlite
