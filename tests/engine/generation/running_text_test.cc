#include "engine/generation/running_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/generation/tiny_model.h"

namespace msa::engine {
namespace {

TextPiece Text(std::string text, RoutedIn routed_in = RoutedIn::kNoRound) {
  return {-1, std::move(text), routed_in};
}

RunningText MakeText() { return RunningText(GetTinyModel().tokenizer.get()); }

TEST(RunningTextTest, AnEmptyTextHasNoTokens) {
  EXPECT_TRUE(MakeText().Encode(true).token_ids.empty());
  EXPECT_EQ(MakeText().Spell(), "");
}

TEST(RunningTextTest, TextBetweenSpecialTokensIsEncodedAsOne) {
  RunningText text = MakeText();
  text.Append({Text("Please re"), Text("turn all"), TextPiece{kRefEnd, ""}, Text("doc")});
  text.Append({Text("uments")});
  EXPECT_EQ(text.Encode(true).token_ids, GetTinyModel().tokenizer->EncodeTemplate(
                                             "Please return all<|object_ref_end|>documents"));
}

TEST(RunningTextTest, ATokenOverTheBorderDoesNotRoute) {
  // The tokenizer makes "][" one token.
  RunningText text = MakeText();
  text.Append({Text("[7]", RoutedIn::kEveryRound), Text("[8]")});
  const RoundPrompt prompt = text.Encode(true);
  EXPECT_EQ(Spell(prompt.token_ids), "[7][8]");
  EXPECT_EQ(RoutedText(prompt), "[7");
}

TEST(RunningTextTest, BordersAreFoundInTheNormalisedText) {
  // "e" and a combining acute: three bytes that become two.
  const std::string decomposed = "Cafe\xCC\x81 cafe\xCC\x81";
  RunningText text = MakeText();
  text.Append({Text(decomposed, RoutedIn::kEveryRound), Text("\n", RoutedIn::kFirstRound),
               Text("#tail", RoutedIn::kNoRound)});
  EXPECT_EQ(RoutedText(text.Encode(true)), "Caf\xC3\xA9 caf\xC3\xA9\n");
  EXPECT_EQ(RoutedText(text.Encode(false)), "Caf\xC3\xA9 caf\xC3\xA9");
}

TEST(RunningTextTest, BordersAreRightAfterBrokenUtf8) {
  RunningText text = MakeText();
  text.Append({Text("\xE2\x82 a \xFF", RoutedIn::kEveryRound), Text("\n")});
  EXPECT_EQ(RoutedText(text.Encode(true)), "\xEF\xBF\xBD a \xEF\xBF\xBD");
}

TEST(RunningTextTest, EmptyPiecesMakeNoBorders) {
  RunningText text = MakeText();
  text.Append({Text(""), Text("[7", RoutedIn::kEveryRound), Text(""),
               Text("]", RoutedIn::kEveryRound), Text("")});
  EXPECT_EQ(RoutedText(text.Encode(true)), "[7]");
}

TEST(RunningTextTest, SeveralBordersInOneText) {
  RunningText text = MakeText();
  text.Append({Text("one", RoutedIn::kEveryRound), Text(" two"),
               Text(" six", RoutedIn::kEveryRound), Text(" ten")});
  EXPECT_EQ(RoutedText(text.Encode(true)), "one| six");
}

TEST(RunningTextTest, SpecialTokensRouteAsTheirPieceSays) {
  RunningText text = MakeText();
  text.Append({TextPiece{kImStart, "", RoutedIn::kEveryRound}, TextPiece{kImEnd, ""},
               TextPiece{kRefEnd, "", RoutedIn::kFirstRound}});
  EXPECT_THAT(text.Encode(true).routed, testing::ElementsAre(1, 0, 1));
  EXPECT_THAT(text.Encode(false).routed, testing::ElementsAre(1, 0, 0));
}

TEST(RunningTextTest, TheLastExpansionTakesOverRouting) {
  RunningText text = MakeText();
  text.AppendRoutedExpansion({Text("[1]. one\n")});
  text.Append({TextPiece{kRefEnd, ""}});
  EXPECT_EQ(RoutedText(text.Encode(false)), "[1]. one\n");
  text.AppendRoutedExpansion({Text("[2]. two\n"), Text("[3]. three\n")});
  text.Append({TextPiece{kRefEnd, ""}});
  EXPECT_EQ(RoutedText(text.Encode(false)), "|[2]. two\n[3]. three\n");
}

TEST(RunningTextTest, ModelTextCanBeReplacedAtItsEnd) {
  RunningText text = MakeText();
  text.Append({Text("user")});
  for (int32_t id : ByteTokens("abcd")) text.AppendModelToken(id);
  text.ReplaceModelEnd(2, {TextPiece{kRefEnd, ""}});
  EXPECT_EQ(text.Spell(), "userab<|object_ref_end|>");
  text.ReplaceModelEnd(1, {Text("x")});  // not the model's text
  EXPECT_EQ(text.Spell(), "userab<|object_ref_end|>");
}

TEST(RunningTextTest, IdsOutsideTheVocabularyAddNothing) {
  RunningText text = MakeText();
  for (int32_t id : {-1, 2026, 2047, 1 << 30}) text.AppendModelToken(id);
  EXPECT_TRUE(text.Encode(true).token_ids.empty());
}

}  // namespace
}  // namespace msa::engine
