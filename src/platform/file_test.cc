#include "platform/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/align.h"
#include "platform/async_reader.h"
#include "platform/memory_info.h"
#include "sluice/error.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

ErrorKind kind_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kCancelled;
}

class FileTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_ / name; }
  size_t n_entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()));
  }
  test::Scratch directory_;
};

TEST_F(FileTest, AppearsWholeOnCommit) {
  const std::string big(size_t{3} << 20, 'x');
  {
    FileWriter writer(path("a"));
    writer.write(bytes_of("hello"));
    writer.pad_to(16);
    EXPECT_EQ(writer.size(), 16u);
    writer.write(bytes_of(big));
    writer.write_at(0, bytes_of("J"));
    EXPECT_FALSE(fs::exists(path("a")));
    writer.commit();
  }
  EXPECT_EQ(n_entries(), 1u);
  const std::string text = read_text_file(path("a"), 4 << 20);
  EXPECT_EQ(text, std::string("Jello") + std::string(11, '\0') + big);
}

TEST_F(FileTest, LeavesNothingWithoutCommitAndKeepsTheOldFile) {
  std::ofstream(path("a")) << "old";
  {
    FileWriter writer(path("a"));
    writer.write(bytes_of("new"));
  }
  EXPECT_EQ(read_text_file(path("a"), 100), "old");
  EXPECT_EQ(n_entries(), 1u);
  FileWriter writer(path("a"));
  writer.write(bytes_of("new"));
  writer.commit();
  EXPECT_EQ(read_text_file(path("a"), 100), "new");
  EXPECT_EQ(n_entries(), 1u);
}

TEST_F(FileTest, SaysWhenTheDiskRefuses) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small = {1 << 20, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string big(size_t{3} << 20, 'x');
  EXPECT_EQ(kind_of([&] {
              FileWriter writer(path("a"));
              writer.write(bytes_of(big));
            }),
            ErrorKind::kIo);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(n_entries(), 0u);
}

TEST_F(FileTest, RefusesWhatIsNotAFileAtOnce) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(kind_of([&] { File::open(path("fifo")); }), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of([&] { File::open(directory_.path().string()); }), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of([&] { File::open("/dev/zero"); }), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of([&] { File::open(path("none")); }), ErrorKind::kNotFound);
  EXPECT_EQ(kind_of([&] { FileWriter writer(directory_.path().string()); }), ErrorKind::kInvalid);
  EXPECT_EQ(kind_of([&] { FileWriter writer(path("none/a")); }), ErrorKind::kNotFound);
}

TEST_F(FileTest, NamesAPrematureEnd) {
  std::ofstream(path("a")) << "short";
  const auto file = File::open(path("a"));
  std::array<std::byte, 8> out;
  EXPECT_EQ(kind_of([&] { file->read_at(0, out); }), ErrorKind::kCorrupt);
  EXPECT_EQ(kind_of([&] { read_text_file(path("a"), 4); }), ErrorKind::kInvalid);
  file->read_at(2, std::span(out).first(3));
  EXPECT_EQ(std::memcmp(out.data(), "ort", 3), 0);
}

// Every reader, in both modes, against the bytes that were written.
class ReaderTest : public FileTest, public testing::WithParamInterface<std::tuple<bool, IoMode>> {
 protected:
  std::unique_ptr<AsyncReader> make(size_t depth) {
    return std::get<0>(GetParam()) ? make_uring_reader(depth) : make_thread_reader(depth);
  }
  IoMode mode() const { return std::get<1>(GetParam()); }
};

TEST_P(ReaderTest, DeliversEveryByteAndTheEnd) {
  const auto reader = make(5);
  if (!reader) GTEST_SKIP() << "skipped: no io_uring here";
  constexpr size_t kPages = 100;
  constexpr size_t kBytes = kPages * kPageBytes + 777;
  std::string text(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) text[i] = static_cast<char>(i * 2654435761u >> 13);
  std::ofstream(path("a"), std::ios::binary) << text;
  const auto file = File::open(path("a"), mode());

  PageBuffer buffer((kPages + 4) * kPageBytes);
  std::vector<ReadRequest> requests;
  for (size_t page = 0; page < kPages + 1; page += 3) {
    requests.push_back(
        {file.get(), page * kPageBytes, buffer.data() + page * kPageBytes, 3 * kPageBytes, page});
  }
  size_t submitted = 0, collected = 0;
  std::vector<int> seen(kPages + 4);
  while (collected < requests.size()) {
    submitted += reader->submit(std::span(requests).subspan(submitted));
    EXPECT_LE(reader->in_flight(), 5u);
    ReadCompletion done[3];
    const size_t n = reader->collect(done, true);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(done[i].error, 0);
      EXPECT_EQ(seen[done[i].tag]++, 0);
    }
    collected += n;
  }
  EXPECT_EQ(reader->in_flight(), 0u);
  EXPECT_EQ(std::memcmp(buffer.data(), text.data(), kBytes), 0);
  ReadCompletion none[1];
  EXPECT_EQ(reader->collect(none, true), 0u);
}

// What a system call gives back is taken as it comes: short, interrupted, failed, or at the file's end.
TEST_F(FileTest, ReadsGoOnAfterShortResults) {
  const std::string name = path("short");
  std::ofstream(name) << std::string(10000, 'x');
  for (const IoMode mode : {IoMode::kBuffered, IoMode::kDirect}) {
    const auto file = File::open(name, mode);
    ReadProgress read = {{file.get(), 4096, nullptr, 8192, 0}};
    int error = -1;
    EXPECT_EQ(read.wanted(), 5904u);
    EXPECT_FALSE(read.advance(-EINTR, &error));
    EXPECT_FALSE(read.advance(-EAGAIN, &error));
    EXPECT_FALSE(read.advance(5000, &error));
    EXPECT_EQ(read.done, file->mode() == IoMode::kDirect ? 4096u : 5000u);
    EXPECT_TRUE(read.advance(static_cast<int64_t>(5904 - read.done), &error));
    EXPECT_EQ(error, 0);
    ReadProgress failed = {{file.get(), 0, nullptr, 4096, 0}};
    EXPECT_TRUE(failed.advance(-EACCES, &error));
    EXPECT_EQ(error, EACCES);
    ReadProgress shrunk = {{file.get(), 0, nullptr, 8192, 0}};
    EXPECT_FALSE(shrunk.advance(4096, &error));
    EXPECT_TRUE(shrunk.advance(0, &error));
    EXPECT_EQ(error, EIO);
  }
}

TEST_P(ReaderTest, ReportsAFileThatShrank) {
  const auto reader = make(2);
  if (!reader) GTEST_SKIP() << "skipped: no io_uring here";
  std::ofstream(path("a")) << std::string(3 * kPageBytes, 'x');
  const auto file = File::open(path("a"), mode());
  fs::resize_file(path("a"), kPageBytes);
  PageBuffer buffer(3 * kPageBytes);
  const ReadRequest request = {file.get(), 0, buffer.data(), 3 * kPageBytes, 7};
  ASSERT_EQ(reader->submit({&request, 1}), 1u);
  ReadCompletion done;
  ASSERT_EQ(reader->collect({&done, 1}, true), 1u);
  EXPECT_EQ(done.tag, 7u);
  EXPECT_EQ(done.error, EIO);
}

TEST_P(ReaderTest, WakeEndsABlockingCollectOnce) {
  const auto reader = make(2);
  if (!reader) GTEST_SKIP() << "skipped: no io_uring here";
  std::ofstream(path("a")) << std::string(kPageBytes, 'x');
  const auto file = File::open(path("a"), mode());
  PageBuffer buffer(kPageBytes);
  for (int i = 0; i < 20; ++i) {
    reader->wake();
    const ReadRequest request = {file.get(), 0, buffer.data(), kPageBytes, 1};
    ASSERT_EQ(reader->submit({&request, 1}), 1u);
    ReadCompletion done;
    size_t n = reader->collect({&done, 1}, true);
    while (n == 0) n = reader->collect({&done, 1}, true);
    EXPECT_EQ(done.tag, 1u);
  }
}

TEST_P(ReaderTest, MayBeDestroyedWithReadsInFlight) {
  std::ofstream(path("a")) << std::string(64 * kPageBytes, 'x');
  const auto file = File::open(path("a"), mode());
  PageBuffer buffer(64 * kPageBytes);
  const auto reader = make(8);
  if (!reader) GTEST_SKIP() << "skipped: no io_uring here";
  for (uint32_t i = 0; i < 8; ++i) {
    const ReadRequest request = {file.get(), i * 8 * kPageBytes, buffer.data() + i * 8 * kPageBytes,
                                 8 * kPageBytes, i};
    ASSERT_EQ(reader->submit({&request, 1}), 1u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ReaderTest,
                         testing::Combine(testing::Bool(),
                                          testing::Values(IoMode::kBuffered, IoMode::kDirect)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param) ? "Uring" : "Threads") +
                                  (std::get<1>(instance.param) == IoMode::kDirect ? "Direct" : "Buffered");
                         });

}  // namespace
}  // namespace sluice
