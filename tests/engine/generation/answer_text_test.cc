#include "engine/generation/answer_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace msa::engine {
namespace {

constexpr char kPrefix[] = "The answer is:";

struct Result {
  std::string streamed;
  std::string answer;
  bool is_stopped = false;
};

// Pushes `text` in pieces of `step` bytes, taking after each.
Result Pushed(const std::string& text, const std::vector<std::string>& stop, size_t step) {
  AnswerText answer(kPrefix, stop);
  Result result;
  for (size_t i = 0; i < text.size() && !result.is_stopped; i += step) {
    result.is_stopped = answer.Push(text.substr(i, step));
    result.streamed += answer.Take();
  }
  if (!result.is_stopped) result.is_stopped = answer.Finish();
  result.streamed += answer.Take();
  result.answer = answer.answer();
  return result;
}

void ExpectAnswer(const std::string& text, const std::vector<std::string>& stop,
                  const std::string& streamed, bool is_stopped = false) {
  for (size_t step : {1, 2, 3, 5, 7, 100}) {
    const Result result = Pushed(text, stop, step);
    EXPECT_EQ(result.streamed, streamed) << text << " in steps of " << step;
    EXPECT_EQ(result.is_stopped, is_stopped) << text << " in steps of " << step;
    const size_t end = streamed.find_last_not_of(" \n");
    EXPECT_EQ(result.answer, streamed.substr(0, end + 1));
  }
}

TEST(AnswerTextTest, FollowsThePrefix) {
  ExpectAnswer("The answer is: Norwick", {}, "Norwick");
  ExpectAnswer("The answer is:Norwick \n", {}, "Norwick \n");
  ExpectAnswer(" \n The answer is: \n 42", {}, "42");
  ExpectAnswer("The answer is:", {}, "");
}

TEST(AnswerTextTest, IsTheWholeTextWithoutThePrefix) {
  ExpectAnswer("Norwick", {}, "Norwick");
  ExpectAnswer("The answer is Norwick", {}, "The answer is Norwick");
  ExpectAnswer("The answ", {}, "The answ");
  ExpectAnswer(" well. The answer is: 3", {}, "well. The answer is: 3");
  ExpectAnswer("", {}, "");
}

TEST(AnswerTextTest, EndsBeforeAStopString) {
  ExpectAnswer("The answer is: one\n\ntwo", {"\n\n"}, "one", true);
  ExpectAnswer("The answer is: one\ntwo", {"\n\n"}, "one\ntwo");
  ExpectAnswer("The answer is: aaab", {"aab"}, "a", true);
  ExpectAnswer("The answer is: abc", {"abcd"}, "abc");
  ExpectAnswer("The answer is: abcabcd!", {"abcd"}, "abc", true);
}

TEST(AnswerTextTest, StopStringsDoNotMatchInThePrefix) {
  ExpectAnswer("The answer is: no", {"answer"}, "no");
  ExpectAnswer("The answer was no", {"answer"}, "The ", true);
  ExpectAnswer("The answ", {"ans"}, "The ", true);
}

TEST(AnswerTextTest, TheStopStringThatIsCompleteFirstCounts) {
  ExpectAnswer("The answer is: xabcdy", {"abcd", "c"}, "xab", true);
  ExpectAnswer("The answer is: xabcdy", {"bcd", "abcd"}, "x", true);
}

TEST(AnswerTextTest, EmptyStopStringsAreIgnored) { ExpectAnswer("The answer is: x", {""}, "x"); }

TEST(AnswerTextTest, HoldsBackWhatMayBecomeAStopString) {
  AnswerText answer("", {"STOP"});
  EXPECT_FALSE(answer.Push("a ST"));
  EXPECT_EQ(answer.Take(), "a ");
  EXPECT_FALSE(answer.Push("O"));
  EXPECT_EQ(answer.Take(), "");
  EXPECT_FALSE(answer.Push("ST"));
  EXPECT_EQ(answer.Take(), "STO");
  EXPECT_TRUE(answer.Push("OP"));
  EXPECT_EQ(answer.Take(), "");
  EXPECT_EQ(answer.answer(), "a STO");
}

TEST(AnswerTextTest, DoesNotDependOnHowTheTextComes) {
  std::mt19937 random(5);
  const auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (int i = 0; i < 500; ++i) {
    const auto word = [&](size_t length) {
      std::string text;
      for (size_t j = 0; j < length; ++j) text += "ab "[pick(3)];
      return text;
    };
    const std::string text = (pick(2) == 0 ? kPrefix : "") + word(pick(20));
    const std::vector<std::string> stop = {word(1 + pick(4)), word(1 + pick(4))};
    const Result whole = Pushed(text, stop, 1000);
    for (size_t step : {1, 2, 3}) {
      const Result parts = Pushed(text, stop, step);
      ASSERT_EQ(parts.streamed, whole.streamed) << text << '|' << stop[0] << '|' << stop[1];
      ASSERT_EQ(parts.is_stopped, whole.is_stopped);
    }
  }
}

}  // namespace
}  // namespace msa::engine
