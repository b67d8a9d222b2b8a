#include "tests/engine/memory/files/file_tree.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

using Kind = FileOperation::Kind;

absl::Status NothingAt(const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
}

}  // namespace

FileTree::FileTree(Changed changed)
    : changed_(std::move(changed)), root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}

FileTree::NodePtr FileTree::Find(const std::string& path) const {
  NodePtr node = root_;
  for (const absl::string_view name : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    const auto found = node->entries.find(std::string(name));
    if (found == node->entries.end()) return nullptr;
    node = found->second;
  }
  return node;
}

absl::StatusOr<FileTree::NodePtr> FileTree::FindDirectory(const std::string& path) const {
  NodePtr node = Find(path);
  if (node == nullptr) return NothingAt(path);
  if (!node->is_directory) return absl::FailedPreconditionError(path + ": not a directory");
  return node;
}

absl::StatusOr<FileTree::NodePtr> FileTree::FindFile(const std::string& path, bool makes) {
  NodePtr node = Find(path);
  if (node != nullptr && node->is_directory) {
    return absl::FailedPreconditionError(path + ": is a directory");
  }
  if (node != nullptr) return node;
  if (!makes) return NothingAt(path);
  std::string name;
  MSA_ASSIGN_OR_RETURN(const NodePtr parent, ParentOf(path, &name));
  return Make(parent.get(), name, /*is_directory=*/false);
}

absl::StatusOr<FileTree::NodePtr> FileTree::ParentOf(const std::string& path,
                                                     std::string* name) const {
  const size_t slash = path.rfind('/');
  *name = path.substr(slash + 1);
  auto parent = FindDirectory(path.substr(0, slash));
  if (absl::IsNotFound(parent.status())) return NothingAt(path);
  return parent;
}

FileTree::NodePtr FileTree::Make(Node* parent, const std::string& name, bool is_directory) {
  auto node = std::make_shared<Node>();
  node->id = next_id_++;
  node->is_directory = is_directory;
  parent->entries[name] = node;
  FileOperation made;
  made.kind = is_directory ? Kind::kMakeDirectory : Kind::kMakeFile;
  made.node = node->id;
  made.directory = parent->id;
  made.name = name;
  changed_(std::move(made));
  return node;
}

absl::Status FileTree::MakeDirectories(const std::string& path) {
  NodePtr node = root_;
  for (const absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    const std::string name(part);
    const auto found = node->entries.find(name);
    node = found == node->entries.end() ? Make(node.get(), name, /*is_directory=*/true)
                                        : found->second;
    if (!node->is_directory) return absl::FailedPreconditionError(path + ": not a directory");
  }
  return absl::OkStatus();
}

absl::Status FileTree::Rename(const std::string& from, const std::string& to) {
  FileOperation renamed;
  renamed.kind = Kind::kRename;
  MSA_ASSIGN_OR_RETURN(const NodePtr parent, ParentOf(from, &renamed.name));
  MSA_ASSIGN_OR_RETURN(const NodePtr new_parent, ParentOf(to, &renamed.new_name));
  if (parent != new_parent) return absl::UnimplementedError("renames stay within a directory");
  auto entry = parent->entries.extract(renamed.name);
  if (entry.empty()) return NothingAt(from);
  renamed.node = entry.mapped()->id;
  renamed.directory = parent->id;
  parent->entries[renamed.new_name] = std::move(entry.mapped());
  changed_(std::move(renamed));
  return absl::OkStatus();
}

void FileTree::RemoveTree(const std::string& path) {
  std::string name;
  const auto parent = ParentOf(path, &name);
  if (parent.ok() && (*parent)->entries.contains(name)) Remove(parent->get(), name);
}

void FileTree::Remove(Node* parent, std::string name) {
  const NodePtr node = parent->entries.at(name);
  while (!node->entries.empty()) Remove(node.get(), node->entries.begin()->first);
  parent->entries.erase(name);
  FileOperation removed;
  removed.kind = Kind::kRemove;
  removed.node = node->id;
  removed.directory = parent->id;
  removed.name = name;
  changed_(std::move(removed));
}

void FileTree::Write(Node* file, uint64_t offset, const std::string& bytes) {
  if (file->bytes.size() < offset + bytes.size()) file->bytes.resize(offset + bytes.size());
  file->bytes.replace(offset, bytes.size(), bytes);
  FileOperation written;
  written.kind = Kind::kWrite;
  written.node = file->id;
  written.offset = offset;
  written.bytes = bytes;
  changed_(std::move(written));
}

void FileTree::Truncate(Node* file, uint64_t size) {
  file->bytes.resize(size);
  FileOperation truncated;
  truncated.kind = Kind::kTruncate;
  truncated.node = file->id;
  truncated.offset = size;
  changed_(std::move(truncated));
}

DiskImage FileTree::Contents() const {
  DiskImage image;
  std::vector<std::pair<std::string, const Node*>> left = {{"", root_.get()}};
  while (!left.empty()) {
    const auto [path, node] = left.back();
    left.pop_back();
    for (const auto& [name, child] : node->entries) {
      const std::string child_path = path + "/" + name;
      if (child->is_directory) {
        image.directories.insert(child_path);
        left.emplace_back(child_path, child.get());
      } else {
        image.files[child_path] = std::make_shared<std::string>(child->bytes);
      }
    }
  }
  return image;
}

}  // namespace msa::engine
